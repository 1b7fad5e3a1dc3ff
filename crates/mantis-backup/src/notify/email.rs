//! By e-mail.

use std::time::Duration;

use futures::future::BoxFuture;
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use super::{Notice, Notifier};
use crate::Error;
use crate::config::{EmailConfig, Security};

/// How long the mail server may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Tells by e-mail.
#[derive(Debug, Clone)]
pub struct Email(EmailConfig);

/// Whether a text is an address.
pub(super) fn check_address(address: &str) -> Result<(), String> {
    address.parse::<Mailbox>().map(|_| ()).map_err(|error| {
        format!("an address is written as ops@example.org or Ops <ops@example.org>: {error}")
    })
}

fn failed(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Other {
        doing: "send an e-mail".into(),
        source: source.into(),
        help: Some("check the mail server, its port, `security`, and who may send there".into()),
    }
}

impl Email {
    /// As the configuration has it.
    #[must_use]
    pub const fn new(config: EmailConfig) -> Self {
        Self(config)
    }

    fn message(&self, notice: &Notice) -> Result<Message, Error> {
        let mailbox = |text: &str| text.parse::<Mailbox>().map_err(failed);
        let subject = format!("[mantis] {}", notice.title.replace(['\r', '\n'], " "));
        let mut message = Message::builder().from(mailbox(self.0.from.get_ref())?).subject(subject);
        for to in &self.0.to {
            message = message.to(mailbox(to.get_ref())?);
        }
        let mut text = format!("{}\n\n", notice.text());
        let facts =
            ["event", "schedule", "source", "repository", "backup", "error", "host", "time"];
        for fact in facts {
            let value = notice.value(fact);
            if !value.is_empty() {
                text.push_str(&format!("{fact}: {value}\n"));
            }
        }
        message.body(text).map_err(failed)
    }

    async fn transport(&self) -> Result<AsyncSmtpTransport<Tokio1Executor>, Error> {
        type Transport = AsyncSmtpTransport<Tokio1Executor>;
        let server = &self.0.server;
        let mut builder = match self.0.security {
            Security::Tls => Transport::relay(server).map_err(failed)?,
            Security::Starttls => Transport::starttls_relay(server).map_err(failed)?,
            Security::None => Transport::builder_dangerous(server),
        };
        if let Some(port) = self.0.port {
            builder = builder.port(port);
        }
        if let (Some(user), Some(secret)) = (self.0.user.clone(), self.0.password.clone()) {
            let password =
                tokio::task::spawn_blocking(move || secret.read_text()).await.map_err(failed)??;
            builder = builder.credentials(Credentials::new(user, password.to_string()));
        }
        Ok(builder.timeout(Some(PATIENCE)).build())
    }

    async fn send(&self, notice: &Notice) -> Result<(), Error> {
        let message = self.message(notice)?;
        self.transport().await?.send(message).await.map_err(failed)?;
        Ok(())
    }
}

impl Notifier for Email {
    fn notify<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.send(notice))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::Occasion;

    /// A mail server for one message: what it was told.
    async fn one_message(listener: TcpListener) -> Vec<String> {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        stream.write_all(b"220 here\r\n").await.unwrap();
        let (mut told, mut in_data) = (Vec::new(), false);
        let mut line = String::new();
        while stream.read_line(&mut line).await.unwrap() > 0 {
            let text = std::mem::take(&mut line).trim_end().to_owned();
            let answer = match &*text {
                "." if in_data => {
                    in_data = false;
                    "250 taken\r\n"
                }
                _ if in_data => "",
                "DATA" => {
                    in_data = true;
                    "354 go on\r\n"
                }
                "QUIT" => "221 bye\r\n",
                _ => "250 ok\r\n",
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
            let quit = text == "QUIT";
            told.push(text);
            if quit || told.last().is_some_and(|last| last == ".") {
                break;
            }
        }
        told
    }

    #[tokio::test]
    async fn a_mail_server_gets_the_message() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let text = format!(
            "[notifications.n.email]\nserver = \"127.0.0.1\"\nport = {port}\nsecurity = \"none\"\n\
             from = \"m@example.org\"\nto = [\"Ops <o@example.org>\", \"p@example.org\"]\n"
        );
        let config = crate::config::parse(&text).unwrap();
        let email = Email::new(config.notifications["n"].email.clone().unwrap());
        let server = tokio::spawn(one_message(listener));
        let notice = Notice {
            source: Some("orders".into()),
            ..Notice::new(Occasion::Failure, "orders\r\nBcc: x@y", "it failed")
        };
        email.notify(&notice).await.unwrap();
        let told = server.await.unwrap().join("\n");
        assert!(told.contains("MAIL FROM:<m@example.org>"), "{told}");
        assert!(
            told.contains("RCPT TO:<o@example.org>") && told.contains("RCPT TO:<p@example.org>")
        );
        assert!(told.contains("it failed") && told.contains("source: orders"), "{told}");
        assert!(told.contains("Subject: [mantis] orders") && !told.contains("\nBcc:"), "{told}");
    }

    #[test]
    fn addresses_are_checked() {
        assert!(check_address("Ops <ops@example.org>").is_ok() && check_address("ops").is_err());
    }
}
