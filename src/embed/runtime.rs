//! Finds the ONNX Runtime on this machine and loads it once.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::LoadDynamicError;
use ort::environment::Environment;

use super::models::{Models, RUNTIME_DIRECTORY};
use crate::error::{Error, Result};

const LIBRARY: &str = "libonnxruntime.so";

/// The environment of this process, which lives as long as the process.
static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);

/// The environment of the ONNX Runtime, loaded at the first call from the first of these that there is:
/// `$ORT_DYLIB_PATH`, the directory of the models, the directories of the system.
///
/// # Errors
/// `Unavailable` if there is no library, or one that is too old; `Native` if it cannot start.
pub(super) fn environment(models: &Models) -> Result<Environment> {
    let mut environment = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(environment) = &*environment {
        return Ok(environment.clone());
    }
    let asked = env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()).map(PathBuf::from);
    let ours = library(models);
    let path = match asked {
        // The loader takes a relative path to be beside the program.
        Some(path) => std::path::absolute(&path).unwrap_or(path),
        None if ours.exists() => ours,
        None => PathBuf::from(LIBRARY),
    };
    let builder = ort::init_from(&path).map_err(|error| unavailable(&error, &path, models))?;
    let new = builder
        .with_name("vdb")
        .with_telemetry(false)
        .build()
        .map_err(|error| Error::Native { call: "CreateEnv", message: error.to_string() })?;
    Ok(environment.insert(new).clone())
}

/// Where the library is beside the models.
fn library(models: &Models) -> PathBuf {
    models.root().join(RUNTIME_DIRECTORY).join(LIBRARY)
}

fn unavailable(error: &LoadDynamicError, path: &Path, models: &Models) -> Error {
    let reason = match error {
        LoadDynamicError::Dlopen { .. } if path == Path::new(LIBRARY) => format!(
            "{} does not exist, nor does the system have {LIBRARY}; {}, ORT_DYLIB_PATH names another",
            library(models).display(),
            models.remedy()
        ),
        other => other.to_string(),
    };
    Error::Unavailable { feature: "the ONNX Runtime", reason }
}
