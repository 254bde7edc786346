//! The Lambda function `publish-events`.

use aws_lambda_events::event::dynamodb::Event;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use runtime::{Settings, telemetry};

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let deps = &publish_events::Deps::load(&Settings::from_env()).await?;
    run(service_fn(async |event: LambdaEvent<Event>| {
        Ok::<_, Error>(publish_events::handle(event.payload, deps).await)
    }))
    .await
}
