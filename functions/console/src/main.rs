//! The Lambda function `console`.

use lambda_http::{Error, Request, run, service_fn};
use runtime::{Settings, telemetry};

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let site = &console::Site::load(&Settings::from_env())?;
    run(service_fn(async |request: Request| {
        Ok::<_, Error>(console::handle(&request, site))
    }))
    .await
}
