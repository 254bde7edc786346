//! The Lambda function `api`.

use lambda_http::{Adapter, Error};
use runtime::invocation::run;
use runtime::{Settings, telemetry};

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let settings = &Settings::from_env();
    let deps = &api::Deps::load(settings).await?;
    let handle = Adapter::from(api::router(deps.clone()));
    run(handle, || api::version_check(deps, settings)).await
}
