//! The Lambda function `run-operations`.

use aws_lambda_events::event::sqs::SqsEvent;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use runtime::{Deadline, Settings, telemetry};

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let deps = &run_operations::Deps::load(&Settings::from_env()).await?;
    run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        let deadline = Deadline::of_invocation(event.context.deadline);
        Ok::<_, Error>(run_operations::handle(event.payload, deadline, deps).await)
    }))
    .await
}
