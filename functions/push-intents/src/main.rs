//! The Lambda function `push-intents`.

use aws_lambda_events::event::sqs::SqsEvent;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use runtime::{Deadline, Settings, telemetry};

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let deps = &push_intents::Deps::load(&Settings::from_env()).await?;
    run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        let deadline = Deadline::of_invocation(event.context.deadline);
        Ok::<_, Error>(push_intents::handle(event.payload, deadline, deps).await)
    }))
    .await
}
