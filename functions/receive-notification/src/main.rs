//! The Lambda function `receive-notification`.

use lambda_http::{Adapter, Error, Request, service_fn};
use runtime::invocation::run;
use runtime::{Settings, telemetry};

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let settings = &Settings::from_env();
    let deps = &receive_notification::Deps::load(settings).await?;
    let handle = Adapter::from(service_fn(async |request: Request| {
        Ok::<_, Error>(receive_notification::handle(&request, deps).await)
    }));
    run(handle, || receive_notification::version_check(deps)).await
}
