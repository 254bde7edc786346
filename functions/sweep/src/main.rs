//! The Lambda function `sweep`.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use runtime::invocation::run;
use runtime::{Deadline, Settings, telemetry};
use serde::de::IgnoredAny;

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let settings = &Settings::from_env();
    let deps = &sweep::Deps::load(settings).await?;
    let handle = service_fn(async |event: LambdaEvent<IgnoredAny>| {
        sweep::handle(Deadline::of_invocation(event.context.deadline), deps).await;
        Ok::<_, Error>(())
    });
    run(handle, || sweep::version_check(deps, settings)).await
}
