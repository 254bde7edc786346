//! The Lambda function `sweep`.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use runtime::{Deadline, Settings, telemetry};
use serde::de::IgnoredAny;

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let deps = &sweep::Deps::load(&Settings::from_env()).await?;
    run(service_fn(async |event: LambdaEvent<IgnoredAny>| {
        sweep::handle(Deadline::of_invocation(event.context.deadline), deps).await;
        Ok::<_, Error>(())
    }))
    .await
}
