//! The Lambda function `mirror-content`.

use aws_lambda_events::event::sqs::SqsEvent;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use runtime::{Deadline, Settings, telemetry};

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let deps = &mirror_content::Deps::load(&Settings::from_env()).await?;
    run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        let deadline = Deadline::of_invocation(event.context.deadline);
        Ok::<_, Error>(mirror_content::handle(event.payload, deadline, deps).await)
    }))
    .await
}
