//! Chromium without a window, driven through its own driver.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use thirtyfour::prelude::*;

/// The driver's process.
struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A browser with one page open.
pub(crate) struct Browser {
    pub(crate) driver: WebDriver,
    /// Where the pages are.
    address: String,
    /// What is not to be counted as an error of a page: what a test provokes.
    expected: Vec<&'static str>,
    _process: Driver,
}

/// How pages are looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) name: &'static str,
    width: u32,
    height: u32,
    dark: bool,
}

/// Each way to look at a page: together they have both colours and both sizes.
pub(crate) const LOOKS: [Look; 2] = [
    Look { name: "light", width: 1200, height: 900, dark: false },
    Look { name: "phone-dark", width: 360, height: 740, dark: true },
];

fn start() -> (Driver, String) {
    let mut command = Command::new("chromedriver");
    command.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let output = child.stdout.take().unwrap();
    let driver = Driver(child);
    let mut lines = BufReader::new(output).lines();
    loop {
        let line = lines.next().unwrap().unwrap();
        if let Some((_, port)) = line.split_once("started successfully on port ") {
            let port = port.trim_end_matches('.').to_owned();
            // It stops when nobody reads what it says.
            std::thread::spawn(move || lines.for_each(drop));
            return (driver, format!("http://127.0.0.1:{port}"));
        }
    }
}

impl Browser {
    pub(crate) async fn open(address: &str) -> Self {
        let (process, url) = start();
        let mut wanted = DesiredCapabilities::chrome();
        for argument in [
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--hide-scrollbars",
        ] {
            wanted.add_arg(argument).unwrap();
        }
        wanted.set("goog:loggingPrefs", json!({ "browser": "ALL" })).unwrap();
        let driver = WebDriver::new(url, wanted).await.unwrap();
        let address = format!("http://{address}");
        let browser = Self { driver, address, expected: Vec::new(), _process: process };
        browser.look(LOOKS[0]).await;
        browser
    }

    pub(crate) async fn look(&self, look: Look) {
        let cdp = self.driver.cdp();
        let size = json!({ "width": look.width, "height": look.height, "deviceScaleFactor": 1, "mobile": look.width < 500 });
        cdp.send_raw("Emulation.setDeviceMetricsOverride", size).await.unwrap();
        let scheme = if look.dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        cdp.send_raw("Emulation.setEmulatedMedia", media).await.unwrap();
    }

    pub(crate) async fn go(&self, path: &str) {
        self.driver.goto(format!("{}{path}", self.address)).await.unwrap();
    }

    /// The path of the page that is shown, with its query.
    pub(crate) async fn place(&self) -> String {
        let url = self.driver.current_url().await.unwrap().to_string();
        url.strip_prefix(&self.address).unwrap_or(&url).to_owned()
    }

    pub(crate) async fn find(&self, css: &str) -> WebElement {
        match self.driver.find(By::Css(css.to_owned())).await {
            Ok(found) => found,
            Err(_) => panic!("no {css} at {}: {}", self.place().await, self.text().await),
        }
    }

    pub(crate) async fn is_there(&self, css: &str) -> bool {
        !self.driver.find_all(By::Css(css.to_owned())).await.unwrap().is_empty()
    }

    /// Replaces what stands in a field.
    pub(crate) async fn fill(&self, css: &str, text: &str) {
        let field = self.find(css).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Clicks at what leads to another page, and waits until that is there.
    pub(crate) async fn click(&self, css: &str) {
        let target = self.find(css).await;
        self.run("window.isOld = true").await;
        target.click().await.unwrap();
        let is_there = "return window.isOld === undefined && document.readyState === 'complete'";
        self.wait("the page that it leads to", is_there).await;
    }

    /// All that can be read on the page.
    pub(crate) async fn text(&self) -> String {
        let text = self.run("return document.body ? document.body.innerText : ''").await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until a text can be read on the page: what was clicked may still lead there.
    pub(crate) async fn shows(&self, text: &str) {
        let text = Value::from(text);
        self.wait(
            &format!("{text}"),
            &format!("return document.body !== null && document.body.innerText.includes({text})"),
        )
        .await;
    }

    /// Waits until the page is at a path, with its query.
    pub(crate) async fn is_at(&self, path: &str) {
        let place = Value::from(path);
        let script = format!("return location.pathname + location.search === {place}");
        self.wait(path, &script).await;
    }

    pub(crate) async fn run(&self, script: &str) -> Value {
        self.driver.execute(script.to_owned(), vec![]).await.unwrap().json().clone()
    }

    /// Waits until a script's value is true. The page may be exchanged meanwhile.
    pub(crate) async fn wait(&self, what: &str, script: &str) {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let found = self.driver.execute(script.to_owned(), vec![]).await;
            if found.is_ok_and(|found| *found.json() == Value::Bool(true)) {
                return;
            }
            if Instant::now() >= until {
                panic!("{what} did not come at {}: {}", self.place().await, self.text().await);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn log_in(&self, user: &str, password: &str) {
        self.fill("input[name=user]", user).await;
        self.fill("input[name=password]", password).await;
        self.click("main button").await;
    }

    /// From now on a line of the browser's console with this in it is no error.
    pub(crate) fn expect(&mut self, what: &'static str) {
        self.expected.push(what);
    }

    /// Nothing was wrong by the browser's own account: no script failed, nothing was refused by the policy.
    pub(crate) async fn is_quiet(&self) {
        for entry in self.driver.browser_log().await.unwrap() {
            let is_expected = self.expected.iter().any(|part| entry.message.contains(part));
            assert!(is_expected, "{}: {}", entry.level, entry.message);
        }
    }

    /// Everyone can use the page, as far as axe can tell, and nothing of it is wider than the screen.
    pub(crate) async fn is_for_everyone(&self, look: Look) {
        let axe = root().join("target/servers/axe/node_modules/axe-core/axe.min.js");
        let axe = std::fs::read_to_string(axe)
            .unwrap_or_else(|error| panic!("{error}: run `cargo xtask browser`"));
        self.run(&axe).await;
        let script = "const done = arguments[arguments.length - 1]; \
            axe.run(document, { resultTypes: ['violations'] }).then((found) => done(found.violations.map((it) => \
            `${it.id}: ${it.help}: ${it.nodes.map((node) => node.html).join(' | ')}`)), (error) => done([String(error)]));";
        let found = self.driver.execute_async(script, vec![]).await.unwrap();
        let found = found.json().as_array().unwrap().clone();
        let place = self.place().await;
        assert!(found.is_empty(), "{place} {}: {found:#?}", look.name);
        let over =
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(self.run(over).await, json!(0), "{place} {}: it is too wide", look.name);
    }

    /// Keeps a picture of the page in the folder that `MANTIS_SCREENSHOTS` names, if it names one.
    pub(crate) async fn picture(&self, name: &str) {
        if let Some(folder) = std::env::var_os("MANTIS_SCREENSHOTS") {
            let file = PathBuf::from(folder).join(format!("{name}.png"));
            self.driver.screenshot(&file).await.unwrap();
        }
    }

    pub(crate) async fn close(self) {
        self.is_quiet().await;
        self.driver.quit().await.unwrap();
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}
