//! The Lambda function `publish-events`.

use aws_lambda_events::event::dynamodb::Event;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use runtime::invocation::run;
use runtime::{Settings, telemetry};

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let settings = &Settings::from_env();
    let deps = &publish_events::Deps::load(settings).await?;
    let handle = service_fn(async |event: LambdaEvent<Event>| {
        Ok::<_, Error>(publish_events::handle(event.payload, deps).await)
    });
    run(handle, || publish_events::version_check(deps)).await
}
