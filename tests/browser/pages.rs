//! Every page, as people see it.

use mantis_tests::daemon::history;
use mantis_tests::house::House;
use mantis_tests::{start_python, wait_until};

use crate::browser::{Browser, LOOKS};

#[tokio::test]
#[ignore = "needs a browser: cargo xtask browser"]
async fn every_page_is_for_everyone_on_every_screen() {
    let house = House::new("[fleet]\nlease = \"3s\"\n");
    wait_until("it to protect its databases", || {
        house.world.ok(&["fleet", "status"])["members"][0]["protected"] == 2
    });
    let _writer = start_python(&house.world.path("bank.db"), false);
    for runs in 1..=3 {
        house.world.ok(&["schedule", "run", "save", "--detach"]);
        wait_until("a run", || history(&house.world).len() == runs);
    }
    let backups = house.world.ok(&["list"]);
    let id = backups[0]["id"].as_str().unwrap();
    let browser = Browser::open(&house.daemon.address()).await;
    browser.go("/").await;
    browser.is_at("/login").await;
    for look in LOOKS {
        browser.look(look).await;
        browser.is_for_everyone(look).await;
    }
    browser.log_in("anna", "open sesame").await;
    browser.wait("the overview", "return document.title.startsWith('Overview')").await;
    // What was seen of the repository is some seconds old at most.
    wait_until("the backups to be seen", || house.get_all().contains(id));
    let source = "/restore?repository=main&source=bank";
    let folder = house.world.path("restored").display().to_string();
    let pages = [
        ("overview", "/".to_owned(), "protected"),
        ("fleet", "/fleet".to_owned(), "1 of 1 are alive"),
        ("backups", "/backups".to_owned(), &id[..8]),
        ("backup", format!("/backups/main/{id}"), "Fingerprint"),
        ("schedules", "/schedules".to_owned(), "Run now"),
        ("schedule", "/schedules/edit?name=save".to_owned(), "What it does"),
        ("new-schedule", "/schedules/edit".to_owned(), "New schedule"),
        ("runs", "/runs".to_owned(), "done"),
        ("retention", "/retention?policy=usual".to_owned(), "After a year"),
        ("repository", "/repositories/main".to_owned(), "not encrypted"),
        ("prune", "/repositories/main?prune=look".to_owned(), "would free"),
        ("pages", "/pages?repository=main&source=bank".to_owned(), "compared with the one before"),
        ("settings", "/settings".to_owned(), "Source bank"),
        ("log", "/log".to_owned(), "login"),
        ("restore-1", "/restore".to_owned(), "1. What"),
        ("restore-2", source.to_owned(), "2. Which moment"),
        ("restore-3", format!("{source}&backup={id}"), "3. Where to"),
        (
            "restore-4",
            format!("{source}&backup={id}&folder={folder}&file=a.db&check=yes"),
            "is not there yet",
        ),
        (
            "restore-refused",
            format!("{source}&backup={id}&folder=/etc&file=a.db"),
            "cannot be done",
        ),
    ];
    for look in LOOKS {
        browser.look(look).await;
        for (name, path, shows) in &pages {
            browser.go(path).await;
            browser.shows(shows).await;
            browser.is_for_everyone(look).await;
            browser.picture(&format!("{name}-{}", look.name)).await;
            browser.is_quiet().await;
        }
    }
    browser.close().await;
    assert!(house.daemon.stop());
}

#[tokio::test]
#[ignore = "needs a browser: cargo xtask browser"]
async fn the_keyboard_is_enough() {
    let house = House::new("");
    let browser = Browser::open(&house.daemon.address()).await;
    browser.go("/schedules").await;
    let focused = "return document.activeElement.textContent || document.activeElement.name";
    let press = async |key: &str| {
        let active = browser.driver.active_element().await.unwrap();
        active.send_keys(key).await.unwrap();
    };
    let tab = "\u{e004}";
    press(tab).await;
    assert_eq!(browser.run(focused).await, "To the content");
    // Past the pages' names to the form, which the name, the password and Enter are enough for.
    for _ in 0..20 {
        if browser.run(focused).await == "user" {
            break;
        }
        press(tab).await;
    }
    press("anna").await;
    press(tab).await;
    press("open sesame\u{e007}").await;
    browser.wait("the schedules", "return document.title.startsWith('Schedules')").await;
    browser.is_at("/schedules").await;
    for _ in 0..40 {
        if browser.run(focused).await == "Run now" {
            break;
        }
        press(tab).await;
    }
    press("\u{e007}").await;
    wait_until("the run", || history(&house.world).len() == 1);
    browser.close().await;
    assert!(house.daemon.stop());
}
