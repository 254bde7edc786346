//! The Lambda function `deploy-check`.

use deploy_check::HookEvent;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use runtime::{Settings, telemetry};

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let deps = &deploy_check::Deps::load(&Settings::from_env())?;
    run(service_fn(async |event: LambdaEvent<HookEvent>| {
        Ok::<_, Error>(deploy_check::handle(&event.payload, deps).await?)
    }))
    .await
}
