//! The Lambda function `apply-snapshots`.

use aws_lambda_events::event::sqs::SqsEvent;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use runtime::invocation::run;
use runtime::{Deadline, Settings, telemetry};

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let settings = &Settings::from_env();
    let deps = &apply_snapshots::Deps::load(settings).await?;
    let handle = service_fn(async |event: LambdaEvent<SqsEvent>| {
        let deadline = Deadline::of_invocation(event.context.deadline);
        Ok::<_, Error>(apply_snapshots::handle(event.payload, deadline, deps).await)
    });
    run(handle, || apply_snapshots::version_check(deps, settings)).await
}
