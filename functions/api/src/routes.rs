//! Every route of the API, with the role that it needs and its handler: the router, the check of
//! roles and the description's `x-role` follow from this one table.

use std::sync::Arc;

use axum::http::Method;
use axum::middleware::from_fn;
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Extension, Router};
use domain::Role;

use crate::Deps;
use crate::audit::list_acts::list_acts;
use crate::channels::stray_channels::{list_stray_channels, stop_stray_channels};
use crate::conflicts::read_conflicts::{get_conflict, list_conflicts};
use crate::conflicts::resolve_conflicts::{resolve_conflict, resolve_conflicts};
use crate::connections::connection_stats::get_stats;
use crate::connections::connection_status::get_status;
use crate::connections::delete_connections::{
    confirm_restored, delete_connection, restore_connection,
};
use crate::connections::erasure_view::{get_erasure, list_erasures};
use crate::connections::manage_connections::{
    create_connection, get_connection, list_connections, pause_connection, resume_connection,
    update_connection,
};
use crate::content::content_versions::{
    compare_versions, list_versions, restore_version, update_version,
};
use crate::content::direct_content::{get_content, put_content};
use crate::content::multipart_upload::{abort_upload, begin_upload, commit_upload, get_upload};
use crate::dead_letters::read_dead_letters::{get_dead_letter, list_dead_letters};
use crate::dead_letters::redrive::{drop_dead_letter, redrive_dead_letters};
use crate::endpoints::manage_webhooks::{
    create_webhook, delete_webhook, get_webhook, list_webhooks, update_webhook,
};
use crate::endpoints::webhook_actions::{
    list_webhook_deliveries, replay_webhook, rotate_webhook_secret, test_webhook,
};
use crate::erasures::erase_people::{
    cancel_person_erasure, erase_person, get_person_erasure, list_person_erasures,
};
use crate::erasures::erase_tenants::{
    cancel_tenant_erasure, erase_tenant, get_tenant_erasure, list_tenant_erasures,
};
use crate::events::read_events::list_events;
use crate::exports::manage_exports::{begin_export, cancel_export, get_export, list_exports};
use crate::fairness::read_limits::get_limits;
use crate::files::create_file::create_file;
use crate::files::edit_file::{delete_file, update_file};
use crate::files::intents::{
    cancel_intent, cancel_intents, list_intents, retry_intent, retry_intents,
};
use crate::files::read_files::{get_file, get_file_history, list_files};
use crate::files::roll_back_file::roll_back_file;
use crate::http::acts::OperationName;
use crate::http::health::get_health;
use crate::http::{Needs, answer_repeats, authorize};
use crate::live::live_tickets::create_live_ticket;
use crate::operations::confirmation::{cancel_operation, confirm_operation};
use crate::operations::drift::list_drift;
use crate::operations::findings::list_findings;
use crate::operations::read_operations::{get_operation, list_operations};
use crate::operations::start_restore::restore_files;
use crate::operations::start_sync::start_sync;
use crate::why::read_why::{get_connection_why, get_file_why};

/// The lowest roles by the words of the table.
#[expect(non_upper_case_globals, reason = "the words of the table")]
mod word {
    use super::{Needs, Role};

    pub(super) const anyone: Needs = Needs::Anyone;
    pub(super) const viewer: Needs = Needs::Role(Role::Viewer);
    pub(super) const editor: Needs = Needs::Role(Role::Editor);
    pub(super) const operator: Needs = Needs::Role(Role::Operator);
    pub(super) const admin: Needs = Needs::Role(Role::Admin);
}

/// Defines the table, and the router of its routes.
macro_rules! routes {
    ($($method:ident $path:literal $needs:ident $handler:ident;)+) => {
        /// The method, the path and the needs of each route.
        pub(crate) const ROUTES: &[(Method, &str, Needs)] =
            &[$((Method::$method, $path, word::$needs)),+];

        /// Returns the router of all routes, each for those who may use it.
        pub(crate) fn router() -> Router<Arc<Deps>> {
            Router::new()
                $(.route($path, guarded(
                    on(MethodFilter::$method, $handler),
                    word::$needs,
                    OperationName(stringify!($handler)),
                )))+
        }
    };
}

routes! {
    GET    "/health"                                                  anyone   get_health;

    GET    "/v1/connections"                                          viewer   list_connections;
    POST   "/v1/connections"                                          admin    create_connection;
    GET    "/v1/connections/{connection}"                             viewer   get_connection;
    PATCH  "/v1/connections/{connection}"                             operator update_connection;
    DELETE "/v1/connections/{connection}"                             admin    delete_connection;
    POST   "/v1/connections/{connection}/restore"                     admin    restore_connection;
    POST   "/v1/connections/{connection}/restore/confirm"             operator confirm_restored;
    GET    "/v1/erasures"                                             admin    list_erasures;
    GET    "/v1/erasures/{connection}"                                admin    get_erasure;
    POST   "/v1/connections/{connection}/pause"                       operator pause_connection;
    POST   "/v1/connections/{connection}/resume"                      operator resume_connection;
    GET    "/v1/connections/{connection}/status"                      viewer   get_status;
    GET    "/v1/connections/{connection}/why"                         viewer   get_connection_why;
    GET    "/v1/connections/{connection}/stray-channels"              viewer   list_stray_channels;
    POST   "/v1/connections/{connection}/stray-channels/stop"      operator stop_stray_channels;
    POST   "/v1/connections/{connection}/sync"                        operator start_sync;
    GET    "/v1/connections/{connection}/operations"                  viewer   list_operations;
    GET    "/v1/connections/{connection}/operations/{operation}"      viewer   get_operation;
    GET    "/v1/connections/{connection}/operations/{operation}/drift" viewer list_drift;
    GET    "/v1/connections/{connection}/operations/{operation}/findings" viewer list_findings;
    POST   "/v1/connections/{connection}/operations/{operation}/confirm" operator confirm_operation;
    POST   "/v1/connections/{connection}/operations/{operation}/cancel" operator cancel_operation;

    GET    "/v1/connections/{connection}/files"                       viewer   list_files;
    POST   "/v1/connections/{connection}/files"                       editor   create_file;
    POST   "/v1/connections/{connection}/files/restore"               operator restore_files;
    GET    "/v1/connections/{connection}/files/{file}"                viewer   get_file;
    PATCH  "/v1/connections/{connection}/files/{file}"                editor   update_file;
    DELETE "/v1/connections/{connection}/files/{file}"                operator delete_file;
    GET    "/v1/connections/{connection}/files/{file}/history"        viewer   get_file_history;
    GET    "/v1/connections/{connection}/files/{file}/why"            viewer   get_file_why;
    POST   "/v1/connections/{connection}/files/{file}/rollback"       editor   roll_back_file;
    GET    "/v1/connections/{connection}/files/{file}/content"        viewer   get_content;
    POST   "/v1/connections/{connection}/files/{file}/content"        editor   put_content;
    GET    "/v1/connections/{connection}/files/{file}/versions"       viewer   list_versions;
    GET    "/v1/connections/{connection}/files/{file}/versions/compare"   viewer compare_versions;
    PATCH  "/v1/connections/{connection}/files/{file}/versions/{version}" editor update_version;
    POST   "/v1/connections/{connection}/files/{file}/restore"        editor   restore_version;
    POST   "/v1/connections/{connection}/files/{file}/uploads"        editor   begin_upload;
    GET    "/v1/connections/{connection}/files/{file}/uploads/{upload}"        editor get_upload;
    DELETE "/v1/connections/{connection}/files/{file}/uploads/{upload}"        editor abort_upload;
    POST   "/v1/connections/{connection}/files/{file}/uploads/{upload}/commit" editor commit_upload;

    GET    "/v1/connections/{connection}/intents"                     viewer   list_intents;
    POST   "/v1/connections/{connection}/intents/retry"               operator retry_intents;
    POST   "/v1/connections/{connection}/intents/cancel"              operator cancel_intents;
    POST   "/v1/connections/{connection}/intents/{file}/retry"        editor   retry_intent;
    POST   "/v1/connections/{connection}/intents/{file}/cancel"       editor   cancel_intent;

    GET    "/v1/connections/{connection}/events"                      viewer   list_events;

    GET    "/v1/connections/{connection}/conflicts"                   viewer   list_conflicts;
    POST   "/v1/connections/{connection}/conflicts/resolutions"       editor   resolve_conflicts;
    GET    "/v1/connections/{connection}/conflicts/{conflict}"        viewer   get_conflict;
    POST   "/v1/connections/{connection}/conflicts/{conflict}/resolution" editor resolve_conflict;

    GET    "/v1/dead-letters"                                         viewer   list_dead_letters;
    POST   "/v1/dead-letters/redrive"                                 operator redrive_dead_letters;
    GET    "/v1/dead-letters/{letter}"                                viewer   get_dead_letter;
    POST   "/v1/dead-letters/{letter}/drop"                           operator drop_dead_letter;

    GET    "/v1/stats"                                                viewer   get_stats;
    GET    "/v1/audit"                                                admin    list_acts;
    GET    "/v1/limits"                                               viewer   get_limits;

    POST   "/v1/live/tickets"                                         viewer   create_live_ticket;

    GET    "/v1/webhooks"                                       operator list_webhooks;
    POST   "/v1/webhooks"                                       operator create_webhook;
    GET    "/v1/webhooks/{webhook}"                             operator get_webhook;
    PATCH  "/v1/webhooks/{webhook}"                             operator update_webhook;
    DELETE "/v1/webhooks/{webhook}"                             operator delete_webhook;
    POST   "/v1/webhooks/{webhook}/test"                        operator test_webhook;
    POST   "/v1/webhooks/{webhook}/rotate"                      operator rotate_webhook_secret;
    GET    "/v1/webhooks/{webhook}/deliveries"                  operator list_webhook_deliveries;
    POST   "/v1/webhooks/{webhook}/replay"                      operator replay_webhook;

    GET    "/v1/exports"                                              admin    list_exports;
    POST   "/v1/exports"                                              admin    begin_export;
    GET    "/v1/exports/{id}"                                         admin    get_export;
    POST   "/v1/exports/{id}/cancel"                                  admin    cancel_export;

    POST   "/v1/people/erase"                                         admin    erase_person;
    GET    "/v1/people/erasures"                                      admin    list_person_erasures;
    GET    "/v1/people/erasures/{id}"                                 admin    get_person_erasure;
    POST   "/v1/people/erasures/{id}/cancel"                      admin    cancel_person_erasure;

    POST   "/v1/tenant/erase"                                         admin    erase_tenant;
    GET    "/v1/tenant/erasures"                                      admin    list_tenant_erasures;
    GET    "/v1/tenant/erasures/{id}"                                 admin    get_tenant_erasure;
    POST   "/v1/tenant/erasures/{id}/cancel"                      admin    cancel_tenant_erasure;
}

/// Returns a route for those who may use it: who may is decided before anything else is read.
fn guarded(
    route: MethodRouter<Arc<Deps>>,
    needs: Needs,
    operation: OperationName,
) -> MethodRouter<Arc<Deps>> {
    route
        .route_layer(from_fn(answer_repeats))
        .route_layer(from_fn(authorize))
        .route_layer(Extension(needs))
        .route_layer(Extension(operation))
}
