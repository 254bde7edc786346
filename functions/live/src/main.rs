//! The Lambda function `live`.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use runtime::invocation::run;
use runtime::{Deadline, Settings, telemetry};
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let settings = &Settings::from_env();
    let deps = &live::Deps::load(settings).await?;
    let handle = service_fn(async |event: LambdaEvent<Value>| {
        let deadline = Deadline::of_invocation(event.context.deadline);
        Ok::<_, Error>(live::handle(event.payload, deadline, deps).await?)
    });
    run(handle, || live::version_check(deps)).await
}
