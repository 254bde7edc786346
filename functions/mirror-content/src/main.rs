//! The Lambda function `mirror-content`.

use aws_lambda_events::event::sqs::SqsEvent;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use runtime::invocation::run;
use runtime::{Deadline, Settings, telemetry};

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let settings = &Settings::from_env();
    let deps = &mirror_content::Deps::load(settings).await?;
    let handle = service_fn(async |event: LambdaEvent<SqsEvent>| {
        let deadline = Deadline::of_invocation(event.context.deadline);
        Ok::<_, Error>(mirror_content::handle(event.payload, deadline, deps).await)
    });
    run(handle, || mirror_content::version_check(deps, settings)).await
}
