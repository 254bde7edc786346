//! The table is lost and restored to an earlier state, while Drive, the queues and the bucket stand
//! where they were.

mod drill;
mod lost_edits;
mod readers;

use drive_simulator::Simulator;
use local::aws::table_backup;

use crate::support::{Folder, World, eventually, serve};

/// A system whose table can be lost.
struct Recovery {
    folder: Folder,
    simulator: Simulator,
    drive_url: String,
}

impl Recovery {
    /// Starts a system, and waits until it is in step.
    async fn begin() -> (Self, World) {
        let simulator = Simulator::new(drive_simulator::Options::default());
        simulator.load_synthetic(12, 2);
        let drive_url = serve(&simulator).await;
        let recovery = Self {
            folder: Folder::new(),
            simulator,
            drive_url,
        };
        let world = recovery.start().await;
        world.converge().await;
        world.operations_ended().await;
        eventually("Drive notifies", async || world.log().await.channel).await;
        (recovery, world)
    }

    async fn start(&self) -> World {
        let folder = self.folder.path().join("data");
        World::beside(self.simulator.clone(), &self.drive_url, Some(folder), true).await
    }

    /// Stops the system, and starts it on the same data.
    async fn restart(&self, world: World) -> World {
        world.system.stop().await;
        self.start().await
    }

    fn back_up(&self) {
        let data = self.folder.path().join("data");
        table_backup::back_up(&data, &self.folder.path().join("backup.db")).unwrap();
    }

    /// Stops the system, whose table is then lost, restores the table as it was, and starts the
    /// system again.
    async fn restore(&self, world: World) -> World {
        world.system.stop().await;
        let data = self.folder.path().join("data");
        table_backup::restore(&data, &self.folder.path().join("backup.db")).unwrap();
        table_backup::complete(&data).unwrap();
        self.start().await
    }
}
