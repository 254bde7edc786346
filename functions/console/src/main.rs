//! The Lambda function `console`.

use lambda_http::{Adapter, Error, Request, service_fn};
use runtime::invocation::run;
use runtime::{Settings, VersionCheck, telemetry};

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let site = &console::Site::load(&Settings::from_env())?;
    let handle = Adapter::from(service_fn(async |request: Request| {
        Ok::<_, Error>(console::handle(&request, site))
    }));
    // It calls nothing: once it runs, it has all that it needs.
    run(handle, async || VersionCheck::default()).await
}
