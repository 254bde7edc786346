//! The Lambda function `live`.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use runtime::{Deadline, Settings, telemetry};
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let deps = &live::Deps::load(&Settings::from_env()).await?;
    run(service_fn(async |event: LambdaEvent<Value>| {
        let deadline = Deadline::of_invocation(event.context.deadline);
        Ok::<_, Error>(live::handle(event.payload, deadline, deps).await?)
    }))
    .await
}
