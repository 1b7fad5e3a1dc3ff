//! Real servers of stores, and the suite over them.

use std::path::{Path, PathBuf};

use crate::command::{self, Done, cargo, exists, program, root};

/// What the servers on this machine ask for; Azurite's account is the one that its documentation publishes.
const CREDENTIALS: &[(&str, &str)] = &[
    ("AWS_ACCESS_KEY_ID", "mantis"),
    ("AWS_SECRET_ACCESS_KEY", "only-for-tests"),
    ("AZURE_STORAGE_ACCOUNT_NAME", "devstoreaccount1"),
    (
        "AZURE_STORAGE_ACCOUNT_KEY",
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
    ),
];

fn servers() -> PathBuf {
    root().join("target/servers")
}

fn with_pip(name: &str, packages: &[&str], proof: &str) -> Done {
    let folder = servers().join(name);
    if folder.join(proof).exists() {
        return Ok(());
    }
    let folder = folder.display().to_string();
    let arguments =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", &folder];
    command::run(program("python3", &arguments).args(packages))
}

fn with_npm(name: &str, package: &str, proof: &str) -> Done {
    let folder = servers().join(name);
    if folder.join("node_modules").join(proof).exists() {
        return Ok(());
    }
    if !exists("npm") {
        with_apt(&["nodejs", "npm"])?;
    }
    let folder = folder.display().to_string();
    let options = ["install", "--no-audit", "--no-fund", "--silent", "--prefix"];
    command::run(program("npm", &options).args([&folder, package]))
}

fn with_apt(packages: &[&str]) -> Done {
    if !exists("apt-get") {
        return Err(format!("install {} with your package manager", packages.join(" and ")));
    }
    command::run(&mut program("apt-get", &["update", "-qq"]))?;
    let arguments = [&["install", "-y", "-qq"], packages].concat();
    command::run(program("apt-get", &arguments).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Installs s3s-fs, which takes the time of a build.
pub(crate) fn install_s3s() -> Done {
    let s3s = servers().join("s3s");
    if !s3s.join("bin/s3s-fs").exists() {
        let s3s = s3s.display().to_string();
        let build = servers().join("build").display().to_string();
        let version = [
            "install",
            "s3s-fs",
            "--version",
            "0.14.1",
            "--features",
            "binary",
            "--locked",
            "--quiet",
        ];
        cargo(&[&version[..], &["--root", &s3s, "--target-dir", &build]].concat())?;
    }
    Ok(())
}

/// Installs moto, and with it boto3, which a benchmark compares with.
pub(crate) fn install_moto() -> Done {
    with_pip("moto", &["moto[server]==5.2.5"], "moto")
}

/// Installs the other servers in `target/servers`, each in the version that the suite was made with.
fn install() -> Done {
    if !Path::new("/usr/sbin/sshd").exists() {
        with_apt(&["openssh-server", "openssh-client"])?;
    }
    install_moto()?;
    with_pip("wsgidav", &["wsgidav==4.4.0", "cheroot"], "wsgidav")?;
    with_npm("azurite", "azurite@3.37.0", ".bin/azurite-blob")
}

/// Installs Chromium, its driver, and axe, which tells what not everyone can use.
fn install_browser() -> Done {
    if !exists("chromedriver") {
        with_apt(&["chromium", "chromium-driver"])?;
    }
    with_npm("axe", "axe-core@4.11.4", "axe-core/axe.min.js")
}

/// `cargo xtask browser [FILTER]`: the daemon's pages in a browser; with `MANTIS_SCREENSHOTS` pictures of them, too.
pub(crate) fn browser(arguments: &[String]) -> Done {
    install_browser()?;
    cargo(&["build", "--locked", "--workspace", "--all-features"])?;
    let base = ["test", "--locked", "--workspace", "--all-features", "--test", "browser", "--"];
    let mut command = program("cargo", &base);
    command::run(command.arg("--ignored").args(arguments))
}

fn suite(filter: &[&str]) -> Done {
    // The command is among what is tested.
    cargo(&["build", "--locked", "--workspace", "--all-features"])?;
    let base = ["test", "--locked", "--workspace", "--all-features", "--test", "stores", "--"];
    let mut command = program("cargo", &base);
    command.args(["--ignored", "--skip", "own_store"]).args(filter);
    command::run(command.envs(CREDENTIALS.iter().copied()))
}

/// Rounds of killed commands over a server of S3.
pub(crate) fn kills() -> Done {
    install_moto()?;
    suite(&["--nocapture", "five_hundred"])
}

/// `cargo xtask fleet [DATABASES]`
pub(crate) fn fleet(arguments: &[String]) -> Done {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let databases = match words[..] {
        [] => "2000",
        [databases] if databases.parse::<u32>().is_ok_and(|databases| databases > 1) => databases,
        _ => return Err("fleet [DATABASES]".into()),
    };
    install_moto()?;
    install_s3s()?;
    cargo(&["build", "--locked", "--workspace", "--all-features"])?;
    let base = ["test", "--locked", "--workspace", "--all-features", "--test", "stores"];
    let chosen = ["--", "--ignored", "--nocapture", "share_databases"];
    let mut command = program("cargo", &[&base[..], &chosen].concat());
    command.envs(CREDENTIALS.iter().copied()).env("MANTIS_FLEET_DATABASES", databases);
    command::run(&mut command)
}

/// `cargo xtask integration [KIND] [--url URL]`; `ci`: without what takes a build to install.
pub(crate) fn run(arguments: &[String]) -> Done {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] => {
            install_s3s()?;
            install()?;
            suite(&["--skip", "five_hundred"])
        }
        ["ci"] => {
            install()?;
            // `gcs_with_faults_on_the_way` fails one time in ten, for a reason that is not known yet (docs/testing.md).
            suite(&["--skip", "s3s", "--skip", "gcs_with_faults", "--skip", "five_hundred"])
        }
        [_, "--url", url] | ["--url", url] => {
            let base =
                ["test", "--locked", "--workspace", "--all-features", "--test", "stores", "--"];
            let own = ["--ignored", "--nocapture", "own_store"];
            command::run(program("cargo", &base).args(own).env("MANTIS_TEST_STORE", url))
        }
        [kind @ ("s3" | "azure" | "webdav" | "sftp" | "gcs" | "folder")] => {
            install_s3s()?;
            install()?;
            suite(&[kind])
        }
        _ => Err(
            "integration [ci | s3 | azure | webdav | sftp | gcs | folder], or integration KIND --url URL"
                .into(),
        ),
    }
}
