//! The content of Drive: a My Drive, and three shared drives of the same shape.

use drive_simulator::{Role, Simulator};

/// The user that owns the shared drives, and edits; the connection acts as another user.
pub const KEEPER: &str = "keeper";
/// Files of one folder of a shared drive.
const PER_FOLDER: usize = 500;

/// The whole library.
pub struct Library {
    /// The files of the My Drive.
    pub mine: Vec<String>,
    /// The first two are joined from the start; the third is not.
    pub drives: [Drive; 3],
    /// All items, including folders.
    pub items: usize,
}

/// A shared drive: one folder that holds everything, and another that is empty.
pub struct Drive {
    pub id: String,
    pub top: String,
    pub archive: String,
    pub files: Vec<String>,
    /// Folders within the one that holds everything.
    pub folders: usize,
}

impl Library {
    pub fn load(simulator: &Simulator, files: usize) -> Self {
        let mine = files - files / 5 * 3;
        let loaded = simulator.load_synthetic(mine, (mine / 100).max(1));
        let mine = simulator.file_ids().split_off(loaded.folders);
        let owner = (Simulator::library_owner(), Role::Organizer);
        let keeper = (KEEPER, Role::Organizer);
        let drives = [
            Drive::make(simulator, "First", &[keeper, owner], files / 5),
            Drive::make(simulator, "Second", &[keeper, owner], files / 5),
            Drive::make(simulator, "Third", &[keeper], files / 5),
        ];
        let totals = simulator.totals();
        Self {
            mine,
            drives,
            items: totals.files + totals.folders,
        }
    }

    /// Creates about this many files: two fifths of them in the My Drive, a fifth in each shared
    /// drive.
    pub fn sample(&self, about: usize) -> Vec<String> {
        let fifth = about / 5;
        let mine = self.mine.iter().take(2 * fifth);
        let shared = self
            .drives
            .iter()
            .flat_map(|drive| drive.files.iter().take(fifth));
        mine.chain(shared).cloned().collect()
    }
}

impl Drive {
    /// Returns the number of its items, including folders.
    pub fn items(&self) -> usize {
        self.files.len() + self.folders + 2
    }

    fn make(simulator: &Simulator, name: &str, members: &[(&str, Role)], files: usize) -> Self {
        let id = simulator.create_drive(name, members);
        let folder =
            |name: &str, parent: &str| simulator.create_folder(KEEPER, name, Some(parent)).unwrap();
        let (top, archive) = (folder("Everything", &id), folder("Archive", &id));
        let (mut made, mut folders, mut parent) = (Vec::with_capacity(files), 0, top.clone());
        for number in 0..files {
            if number % PER_FOLDER == 0 {
                parent = folder(&format!("Folder {folders}"), &top);
                folders += 1;
            }
            let name = format!("file-{number}.txt");
            let content = bytes::Bytes::from(name.clone());
            let file = simulator.create_file(KEEPER, &name, Some(&parent), content);
            made.push(file.unwrap());
        }
        Self {
            id,
            top,
            archive,
            files: made,
            folders,
        }
    }
}
