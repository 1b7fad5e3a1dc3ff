//! A daemon with users, who log in to its pages, and a program that talks to it.

use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use crate::daemon::Daemon;
use crate::{World, make_bank};

/// The kind of what browsers send.
pub const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
/// The kind of what programs send.
pub const JSON: (&str, &str) = ("Content-Type", "application/json");

/// A daemon with an operator `anna` (password `open sesame`), a reader `rita` (`just looking`), and a program `ci` that operates.
#[derive(Debug)]
pub struct House {
    /// Its folder: `bank.db`, the repository `repo`, the configuration, and `restored`, where people may restore to.
    pub world: World,
    /// The daemon.
    pub daemon: Daemon,
    /// The program's token.
    pub token: String,
}

fn hashed(world: &World, password: &str) -> String {
    let mut command = world.command(&["config", "password"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let line = format!("{password}\n");
    child.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    answer["password_hash"].as_str().unwrap().to_owned()
}

fn config(world: &World, token_hash: &str, rest: &str) -> String {
    let restored = world.path("restored");
    std::fs::create_dir_all(&restored).unwrap();
    format!(
        r#"
state_dir = "state"
listen = "127.0.0.1:0"
[repositories.main]
url = "repo"
[sources.bank]
path = "bank.db"
[sources.notes]
path = "notes.db"
[schedules.save]
cron = "0 0 29 2 *"
sources = ["bank"]
attempts = 1
{rest}
[retention.usual]
keep_daily = 7
keep_monthly = 3
[dashboard]
hosts = ["backups.example"]
restore_folders = ["restored"]
[dashboard.users.anna]
role = "operator"
password_hash = "{}"
[dashboard.users.rita]
role = "read-only"
password_hash = "{}"
[dashboard.users.ci]
role = "operator"
token_hash = "{token_hash}"
"#,
        hashed(world, "open sesame"),
        hashed(world, "just looking")
    )
}

/// Text as it stands in a form.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// A form as browsers send it.
#[must_use]
pub fn form(fields: &[(&str, &str)]) -> String {
    let fields = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
    fields.collect::<Vec<String>>().join("&")
}

impl House {
    /// Makes one; `rest` goes to its schedule `save`, which is never due.
    ///
    /// # Panics
    /// Where it does not start.
    #[must_use]
    pub fn new(rest: &str) -> Self {
        let world = World::empty();
        world.ok(&["init"]);
        make_bank(&world.path("bank.db"), "wal", 4096);
        let made = world.ok(&["config", "token"]);
        let token = made["token"].as_str().unwrap().to_owned();
        let config = config(&world, made["token_hash"].as_str().unwrap(), rest);
        std::fs::write(world.path("mantis.toml"), config).unwrap();
        assert_eq!(world.ok(&["config", "check"])["ok"], true);
        let daemon = Daemon::start(&world);
        Self { world, daemon, token }
    }

    /// Makes its database so many MiB larger: a backup of it takes a while where its rate is limited.
    ///
    /// # Panics
    /// Where it cannot be written.
    pub fn grow(&self, mib: u32) {
        let bank = rusqlite::Connection::open(self.world.path("bank.db")).unwrap();
        bank.execute_batch("create table padding (bytes blob)").unwrap();
        for _ in 0..mib {
            bank.execute("insert into padding values (randomblob(1048576))", []).unwrap();
        }
    }

    /// The status and the head of the answer to who logs in.
    ///
    /// # Panics
    /// Where there is no answer.
    #[must_use]
    pub fn try_login(&self, user: &str, password: &str, more: &[(&str, &str)]) -> (u32, String) {
        let body = form(&[("user", user), ("password", password), ("next", "/schedules")]);
        let headers = [&[FORM], more].concat();
        let (status, head, _) = self.daemon.request(("POST", "/login"), &headers, &body);
        (status, head)
    }

    /// The cookie of a new session.
    ///
    /// # Panics
    /// Where nobody is logged in.
    #[must_use]
    pub fn login(&self, user: &str, password: &str) -> String {
        let (status, head) = self.try_login(user, password, &[]);
        assert_eq!(status, 303, "{head}");
        assert!(head.contains("location: /schedules"), "{head}");
        let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
        cookie.split(';').next().unwrap().to_owned()
    }

    /// The status and the body of a page.
    ///
    /// # Panics
    /// Where there is no answer.
    #[must_use]
    pub fn get(&self, path: &str, cookie: &str) -> (u32, String) {
        let (status, _, body) = self.daemon.request(("GET", path), &[("Cookie", cookie)], "");
        (status, body)
    }

    /// What was changed by hand, newest first.
    ///
    /// # Panics
    /// Where there is no answer.
    #[must_use]
    pub fn changes(&self) -> Vec<Value> {
        let bearer = format!("Bearer {}", self.token);
        let headers = [("Authorization", bearer.as_str())];
        let (status, _, body) = self.daemon.request(("GET", "/api/v1/changes"), &headers, "");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// All backups that the daemon has seen, as it tells the program.
    ///
    /// # Panics
    /// Where there is no answer.
    #[must_use]
    pub fn get_all(&self) -> String {
        let bearer = format!("Bearer {}", self.token);
        let headers = [("Authorization", bearer.as_str())];
        self.daemon.request(("GET", "/api/v1/backups"), &headers, "").2
    }

    /// What the forms of a session carry.
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    pub fn csrf(&self, cookie: &str) -> String {
        let (_, page) = self.get("/schedules", cookie);
        let from = page.find("name=\"csrf\" value=\"").unwrap() + "name=\"csrf\" value=\"".len();
        page[from..].split('"').next().unwrap().to_owned()
    }
}
