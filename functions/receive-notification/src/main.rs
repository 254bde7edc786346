//! The Lambda function `receive-notification`.

use lambda_http::{Error, Request, run, service_fn};
use runtime::{Settings, telemetry};

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let deps = &receive_notification::Deps::load(&Settings::from_env()).await?;
    run(service_fn(async |request: Request| {
        Ok::<_, Error>(receive_notification::handle(&request, deps).await)
    }))
    .await
}
