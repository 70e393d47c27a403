//! Whether other users of this machine can read or change the files that hold secrets.

use super::finding::{Finding, Level};
use crate::config::{Loaded, Problem};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const OTHERS_READ: u32 = 0o004;
const OTHERS_WRITE: u32 = 0o002;

/// Looks at the files of secrets and of private keys.
pub fn check(loaded: &Loaded) -> Vec<Finding> {
    let mode = |path: &Path| std::fs::metadata(path).ok().map(|metadata| metadata.permissions().mode());
    files(loaded).into_iter().filter_map(|(named, path)| judge(named, &path, mode(&path)?)).collect()
}

/// Returns the files, each with the place that names it.
fn files(loaded: &Loaded) -> Vec<(Problem, PathBuf)> {
    let key = |path: String, file: &Path| (loaded.places.problem(&path, ""), file.to_owned());
    let listeners = loaded.config.server.certificates.iter().enumerate();
    let listeners =
        listeners.map(|(index, file)| key(format!("server.certificates[{index}].key"), &file.key));
    let origins = loaded.config.sites.iter().enumerate().filter_map(|(index, site)| {
        let identity = site.origin.tls.certificate.as_ref()?;
        Some(key(format!("sites[{index}].origin_tls.key"), &identity.key))
    });
    loaded.secret_files.iter().cloned().chain(listeners).chain(origins).collect()
}

fn judge(named: Problem, path: &Path, mode: u32) -> Option<Finding> {
    let can = match (mode & OTHERS_READ, mode & OTHERS_WRITE) {
        (0, 0) => return None,
        (_, 0) => "read",
        (0, _) => "change",
        _ => "read and change",
    };
    let path = path.display();
    let message =
        format!("every user of this machine can {can} the secret in {path} (mode {:o})", mode & 0o7777);
    Some(Finding::new(
        Level::Warning,
        Problem { message, ..named },
        Some(&format!("chmod o= {path}, and let the user of the service or its group own it")),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_others_rights_count() {
        let named =
            || Problem { file: "f".into(), line: 1, column: 1, key: "k".to_owned(), message: String::new() };
        let said = |mode| judge(named(), Path::new("/run/t"), mode).map(|finding| finding.to_string());
        assert_eq!(said(0o100_600), None);
        assert_eq!(said(0o100_640), None);
        assert!(said(0o100_644).unwrap().contains("can read the secret in /run/t (mode 644)"));
        assert!(said(0o100_602).unwrap().contains("can change the secret"));
        assert!(said(0o100_666).unwrap().contains("can read and change the secret"));
    }
}
