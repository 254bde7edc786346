//! Path parameters, checked before a handler runs, and their description.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use domain::{ConnectionId, ConnectionKey, FileId, OperationId};
use utoipa::PartialSchema;
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};

use crate::Deps;
use crate::http::auth::Caller;
use crate::http::problem::Problem;

/// A connection of the caller. It may not exist.
pub(crate) struct ConnectionPath {
    pub(crate) caller: Caller,
    pub(crate) key: ConnectionKey,
}

/// A file in a connection of the caller.
pub(crate) struct FilePath {
    pub(crate) caller: Caller,
    pub(crate) key: ConnectionKey,
    pub(crate) file: FileId,
}

/// A stored version of a file.
pub(crate) struct VersionPath {
    pub(crate) at: FilePath,
    /// `None` if it is not a number, so that no version can have it.
    pub(crate) number: Option<u32>,
}

/// An upload of a file's content.
pub(crate) struct UploadPath {
    pub(crate) at: FilePath,
    /// The upload's id from the path. The upload may not exist.
    pub(crate) upload: String,
}

/// An operation of a connection of the caller.
pub(crate) struct OperationPath {
    pub(crate) caller: Caller,
    pub(crate) key: ConnectionKey,
    pub(crate) id: OperationId,
}

/// The parameters of a path by name.
pub(crate) struct PathParams(HashMap<String, String>);

impl PathParams {
    pub(crate) async fn read(parts: &mut Parts, deps: &Arc<Deps>) -> Result<Self, Problem> {
        let params = Path::<HashMap<String, String>>::from_request_parts(parts, deps).await;
        let Path(params) = params.map_err(|_| Problem::not_found("the path"))?;
        Ok(Self(params))
    }

    /// Returns a parameter; empty if the path has none of this name.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

/// Reads the caller and the connection. The caller is first: without a tenant, the path is not
/// read.
pub(crate) async fn connection_path(
    parts: &mut Parts,
    deps: &Arc<Deps>,
) -> Result<(ConnectionPath, PathParams), Problem> {
    let caller = Caller::from_request_parts(parts, deps).await?;
    let params = PathParams::read(parts, deps).await?;
    let connection = ConnectionId::parse(params.get("connection"));
    let key = ConnectionKey {
        tenant: caller.tenant.clone(),
        connection: connection.map_err(|_| Problem::not_found("the connection"))?,
    };
    Ok((ConnectionPath { caller, key }, params))
}

/// Describes a parameter of a path.
pub(crate) fn path_parameter<T: PartialSchema>(name: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .schema(Some(T::schema()))
        .build()
}

/// Describes the path parameters that an extractor reads, in their order.
macro_rules! describe_path {
    ($extractor:ty, $($name:literal: $value:ty),+) => {
        impl utoipa::IntoParams for $extractor {
            fn into_params(
                _: impl Fn() -> Option<utoipa::openapi::path::ParameterIn>,
            ) -> Vec<utoipa::openapi::path::Parameter> {
                vec![$($crate::http::path_parameter::<$value>($name)),+]
            }
        }
    };
}
pub(crate) use describe_path;

/// Makes a type the extractor of a path: reads it from the connection and the other parameters, and
/// describes its parameters in their order.
macro_rules! path_extractor {
    ($path:ty, $read:expr, $($name:literal: $value:ty),+) => {
        impl axum::extract::FromRequestParts<std::sync::Arc<crate::Deps>> for $path {
            type Rejection = crate::http::Problem;

            async fn from_request_parts(
                parts: &mut axum::http::request::Parts,
                deps: &std::sync::Arc<crate::Deps>,
            ) -> Result<Self, Self::Rejection> {
                let (at, params) = crate::http::connection_path(parts, deps).await?;
                $read(at, &params)
            }
        }

        crate::http::describe_path!($path, $($name: $value),+);
    };
}
pub(crate) use path_extractor;

path_extractor!(ConnectionPath, |at, _: &PathParams| Ok(at), "connection": String);
path_extractor!(FilePath, file_path, "connection": String, "file": String);
path_extractor!(
    VersionPath, version_path, "connection": String, "file": String, "version": u32
);
path_extractor!(
    UploadPath, upload_path, "connection": String, "file": String, "upload": String
);
path_extractor!(OperationPath, operation_path, "connection": String, "operation": String);

fn file_path(at: ConnectionPath, params: &PathParams) -> Result<FilePath, Problem> {
    let ConnectionPath { caller, key } = at;
    let file = FileId::parse(params.get("file")).map_err(|_| Problem::not_found("the file"))?;
    Ok(FilePath { caller, key, file })
}

fn version_path(at: ConnectionPath, params: &PathParams) -> Result<VersionPath, Problem> {
    let number = params.get("version").parse().ok();
    let at = file_path(at, params)?;
    Ok(VersionPath { at, number })
}

fn upload_path(at: ConnectionPath, params: &PathParams) -> Result<UploadPath, Problem> {
    let upload = params.get("upload");
    let valid = upload.len() == 32 && upload.bytes().all(|byte| byte.is_ascii_hexdigit());
    // An invalid id names nothing, and must not reach a key.
    let upload = if valid { upload } else { "none" }.to_ascii_lowercase();
    let at = file_path(at, params)?;
    Ok(UploadPath { at, upload })
}

fn operation_path(at: ConnectionPath, params: &PathParams) -> Result<OperationPath, Problem> {
    let ConnectionPath { caller, key } = at;
    let id = OperationId::parse(params.get("operation"));
    let id = id.map_err(|_| Problem::not_found("the operation"))?;
    Ok(OperationPath { caller, key, id })
}
