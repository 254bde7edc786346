//! The Lambda function `api`.

use lambda_http::{Error, run};
use runtime::{Settings, telemetry};

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let deps = api::Deps::load(&Settings::from_env()).await?;
    run(api::router(deps)).await
}
