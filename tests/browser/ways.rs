//! What people do by the pages, from its beginning to its end.

use mantis_tests::daemon::history;
use mantis_tests::house::House;
use mantis_tests::{committed, prove_bank, start_python, wait_until};
use serde_json::Value;

use crate::browser::{Browser, LOOKS};

/// A bar's value, or nothing where there is none.
const BAR: &str = "const bar = document.querySelector('[data-work=\"run:save/bank\"] progress'); return bar ? bar.value : null";

#[tokio::test]
#[ignore = "needs a browser: cargo xtask browser"]
async fn a_backup_is_begun_watched_live_and_cancelled_and_the_next_is_watched_to_its_end() {
    let house = House::new("limit_rate = \"4MB/s\"\nspool_limit = \"0\"\n");
    house.grow(48);
    let _writer = start_python(&house.world.path("bank.db"), false);
    let browser = Browser::open(&house.daemon.address()).await;
    browser.go("/schedules").await;
    browser.log_in("anna", "open sesame").await;
    browser.click("button[value=run]").await;
    browser.go("/").await;
    // From here on the page is not asked for again by anyone but itself.
    browser.run("window.asked = 'once'").await;
    let is_running = "return document.querySelector('[data-work=\"run:save/bank\"]') !== null";
    browser.wait("the run on the page", is_running).await;
    let first = browser.run(BAR).await.as_f64().unwrap_or(0.0);
    let more =
        format!("const value = (() => {{ {BAR} }})(); return value !== null && value > {first}");
    browser.wait("its progress", &more).await;
    browser
        .wait(
            "its rate",
            "return document.querySelector('[data-show=rate]').textContent.endsWith('/s')",
        )
        .await;
    assert!(browser.is_there("[data-show=held]").await);
    let held = browser.find("[data-show=held]").await.text().await.unwrap();
    assert_eq!(held, "0 ms", "writers of a database with a WAL do not wait");
    browser.is_for_everyone(LOOKS[0]).await;
    browser.picture("live").await;
    browser.click("button[value=cancel]").await;
    wait_until("its end", || history(&house.world).len() == 1);
    assert_eq!(history(&house.world)[0]["outcome"], "cancelled");
    assert!(house.world.ok(&["list"]).as_array().unwrap().is_empty());
    // The next one at full speed, begun by another way.
    let file = house.world.path("mantis.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("4MB/s", "20MB/s");
    std::fs::write(&file, text).unwrap();
    house.daemon.signal("-HUP");
    wait_until("the new configuration", || house.daemon.log().contains("was read again"));
    browser.go("/").await;
    browser.run("window.asked = 'once'").await;
    house.world.ok(&["schedule", "run", "save", "--detach"]);
    browser.wait("the second run on the page", is_running).await;
    browser
        .wait("its end on the page", "return document.querySelector('[data-work]') === null")
        .await;
    wait_until("its end", || history(&house.world).len() == 2);
    assert_eq!(history(&house.world)[1]["outcome"], "done");
    assert_eq!(browser.run("return window.asked").await, "once", "it was never loaded anew");
    browser.close().await;
    assert!(house.daemon.stop());
}

#[tokio::test]
#[ignore = "needs a browser: cargo xtask browser"]
async fn a_backup_is_restored_by_the_wizard_and_nothing_is_overwritten() {
    let house = House::new("");
    let _writer = start_python(&house.world.path("bank.db"), false);
    let (before, mut ids) = (committed(&house.world.path("bank.db")), Vec::new());
    for runs in 1..=2 {
        house.world.ok(&["schedule", "run", "save", "--detach"]);
        wait_until("a run", || history(&house.world).len() == runs);
        ids.push(history(&house.world)[runs - 1]["backup"].as_str().unwrap().to_owned());
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
    let after = committed(&house.world.path("bank.db"));
    wait_until("the backups to be seen", || house.get_all().contains(&ids[1]));
    let browser = Browser::open(&house.daemon.address()).await;
    browser.go("/").await;
    browser.log_in("anna", "open sesame").await;
    browser.click("nav a[href='/restore']").await;
    browser.click("main table a").await;
    // A moment before all of them, then one on the line.
    browser.fill("input[name=at]", "2001-01-01 00:00").await;
    browser.click("main form button").await;
    browser.shows("no backup from before").await;
    browser.click(&format!(".timeline a[href*='{}']", ids[0])).await;
    assert!(browser.place().await.contains(&ids[0]));
    assert!(browser.is_there(".moment.chosen").await);
    browser.fill("input[name=file]", "then.db").await;
    browser.click("form.tall button").await;
    let plan = browser.find("#plan").await.text().await.unwrap();
    let target = house.world.path("restored/then.db");
    assert!(plan.contains(&target.display().to_string()), "{plan}");
    assert!(!target.exists(), "it was only looked at");
    browser.click("button.main").await;
    browser.is_at("/restores/1").await;
    browser.wait("its end", "return document.getElementById('state').textContent === 'done'").await;
    let seq = prove_bank(&target);
    assert!(before <= seq && seq <= after, "{before} {seq} {after}");
    browser.is_for_everyone(LOOKS[0]).await;
    browser.picture("restored").await;
    // The same again: told before anything is done.
    browser.driver.back().await.unwrap();
    browser.driver.refresh().await.unwrap();
    browser.shows("there already").await;
    assert!(!browser.is_there("button.main").await);
    browser.close().await;
    assert!(house.daemon.stop());
}

#[tokio::test]
#[ignore = "needs a browser: cargo xtask browser"]
async fn a_repository_is_verified_and_pruned_and_the_page_tells() {
    let house = House::new("");
    house.world.ok(&["backup", "bank.db", "--name", "bank"]);
    let browser = Browser::open(&house.daemon.address()).await;
    browser.go("/repositories/main").await;
    browser.log_in("anna", "open sesame").await;
    browser.is_at("/repositories/main").await;
    browser.click("button[value=verify]").await;
    browser.shows("verified 1 backup").await;
    browser.click("a[href*='prune=look']").await;
    browser.shows("A prune would free").await;
    browser.click("button[value=prune]").await;
    browser.shows("freed 0 B in 0 objects").await;
    browser.is_for_everyone(LOOKS[0]).await;
    let ran: Vec<Value> = history(&house.world).iter().map(|run| run["schedule"].clone()).collect();
    assert_eq!(ran, ["verify:main", "prune:main"]);
    browser.is_quiet().await;
    browser.close().await;
    assert!(house.daemon.stop());
}

#[tokio::test]
#[ignore = "needs a browser: cargo xtask browser"]
async fn a_wrong_login_is_refused_and_pages_from_elsewhere_change_nothing() {
    let house = House::new("");
    let mut browser = Browser::open(&house.daemon.address()).await;
    // What this test provokes, the browser notes.
    browser.expect("401 (Unauthorized)");
    browser.expect("403 (Forbidden)");
    browser.expect("421 (");
    browser.go("/schedules").await;
    browser.log_in("anna", "shut sesame").await;
    browser.shows("do not belong together").await;
    assert_eq!(browser.run("return document.cookie").await, "");
    browser.log_in("anna", "open sesame").await;
    browser.is_at("/schedules").await;
    assert_eq!(browser.run("return document.cookie").await, "", "no script sees the session");
    // A page from elsewhere, which the browser sends the cookie along with if it can, sends the form.
    let action = format!("http://{}/act", house.daemon.address());
    let page = format!(
        "data:text/html,<form method=post action='{action}'><input name=do value=run><input name=name value=save><button>x</button></form>"
    );
    browser.driver.goto(page).await.unwrap();
    browser.click("button").await;
    // It is led to the login, and from there, as somebody is logged in, to the front; nothing was done.
    browser.wait("an answer", "return location.protocol === 'http:'").await;
    assert!(matches!(&*browser.place().await, "/" | "/login" | "/act"));
    assert!(house.changes().iter().all(|change| change["what"] == "login"), "nothing was tried");
    // The same from here, but without what the forms carry.
    browser.go("/schedules").await;
    browser.run("document.querySelector('main input[name=csrf]').value = '0'").await;
    browser.click("button[value=run]").await;
    browser.shows("not this one").await;
    assert!(history(&house.world).is_empty());
    // Another name for this machine.
    let port = house.daemon.address().rsplit(':').next().unwrap().to_owned();
    browser.driver.goto(format!("http://rebound.localhost:{port}/")).await.unwrap();
    browser.shows("nobody is known here").await;
    browser.go("/").await;
    browser.click("header button").await;
    browser.is_at("/login").await;
    browser.go("/schedules").await;
    browser.is_at("/login?next=%2Fschedules").await;
    assert_eq!(browser.run("return 1").await, Value::from(1));
    browser.close().await;
    assert!(house.daemon.stop());
}

#[tokio::test]
#[ignore = "needs a browser: cargo xtask browser"]
async fn a_schedule_is_edited_and_a_new_one_made_as_its_times_are_explained() {
    let house = House::new("jitter = \"1s\" # a little later\n");
    let mut browser = Browser::open(&house.daemon.address()).await;
    browser.go("/schedules").await;
    browser.log_in("anna", "open sesame").await;
    browser.click("main a[aria-label='Edit save']").await;
    browser.expect("422 (Unprocessable");
    let explained = "return document.getElementById('cron-words').textContent";
    browser.wait("the words", &format!("{explained}.includes('February')")).await;
    browser.fill("input[name=cron]", "30 4 * * MON").await;
    let other = "const words = document.getElementById('cron-words').textContent; return words.includes('04:30') && words.includes('Monday')";
    browser.wait("other words", other).await;
    browser.fill("input[name=cron]", "30 25 * * *").await;
    browser
        .wait(
            "what is wrong",
            "return !document.getElementById('cron-words').textContent.includes('Monday')",
        )
        .await;
    browser.click("button.main").await;
    assert!(browser.is_there("[role=alert]").await, "{}", browser.text().await);
    browser.fill("input[name=cron]", "30 4 * * MON").await;
    browser.click("button.main").await;
    browser.wait("the schedules", "return location.pathname === '/schedules'").await;
    browser.shows("30 4 * * MON").await;
    let text = std::fs::read_to_string(house.world.path("mantis.toml")).unwrap();
    assert!(
        text.contains("cron = \"30 4 * * MON\"") && text.contains("# a little later"),
        "{text}"
    );
    browser.click("main a[href='/schedules/edit']").await;
    browser.fill("input[name=name]", "prove").await;
    browser.fill("input[name=cron]", "@weekly").await;
    browser.run("document.querySelector('select[name=do]').value = 'verify'").await;
    browser.click("button.main").await;
    browser.wait("the schedules", "return location.pathname === '/schedules'").await;
    browser.shows("prove").await;
    let listed = house.world.ok(&["schedule", "list"]);
    assert!(listed.to_string().contains("prove"), "{listed}");
    // What somebody changed meanwhile is not overwritten.
    browser.click("main a[aria-label='Edit save']").await;
    let file = house.world.path("mantis.toml");
    std::fs::write(&file, std::fs::read_to_string(&file).unwrap() + "\n# by hand\n").unwrap();
    browser.click("button.main").await;
    browser.shows("changed meanwhile").await;
    browser.click("button.main").await;
    browser.wait("the schedules", "return location.pathname === '/schedules'").await;
    assert!(std::fs::read_to_string(&file).unwrap().contains("# by hand"));
    browser.close().await;
    assert!(house.daemon.stop());
}

#[tokio::test]
#[ignore = "needs a browser: cargo xtask browser"]
async fn rules_are_tried_out_and_then_saved() {
    let house = House::new("");
    let browser = Browser::open(&house.daemon.address()).await;
    browser.go("/retention").await;
    browser.log_in("anna", "open sesame").await;
    let text = browser.text().await;
    assert!(text.contains("keep_daily = 7") && text.contains("After a year"), "{text}");
    browser.fill("input[name=keep_daily]", "no number").await;
    browser.click("main form button").await;
    assert!(browser.find("[role=alert]").await.text().await.unwrap().contains("keep_daily"));
    browser.fill("input[name=keep_daily]", "30").await;
    browser.fill("input[name=keep_monthly]", "").await;
    browser.click("main form button").await;
    browser.shows("30 are left").await;
    let file = || std::fs::read_to_string(house.world.path("mantis.toml")).unwrap();
    assert!(file().contains("keep_daily = 7"), "it was only tried out");
    browser.click("form[action='/retention/save'] button").await;
    browser.wait("the rules", "return location.search === '?policy=usual'").await;
    assert!(file().contains("keep_daily = 30") && !file().contains("keep_monthly"), "{}", file());
    browser.shows("30 are left").await;
    browser.close().await;
    assert!(house.daemon.stop());
}
