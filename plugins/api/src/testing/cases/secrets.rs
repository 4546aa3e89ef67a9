//! G10: what a plugin knows it never tells: not in its errors, not in a log, and to nobody else.

use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};

use crate::{
    operation::Batch,
    testing::{
        client::operation,
        history::History,
        subject::{Fault, Subject},
        trial::{inject, tell_no_secret},
        witness,
    },
};

/// Errors in every way, with an answer among them that repeats what it was asked.
pub async fn errors_and_logs_tell_no_secret<S: Subject>() {
    witness::start();
    let subject = S::start().await;
    let destination = subject.destination();
    let mut words = Vec::new();
    let faults = [
        Fault::Echo,
        Fault::ServerError,
        Fault::Cut,
        Fault::Hold,
        Fault::Down,
        Fault::NotServing,
        Fault::Refused,
    ];
    for fault in faults {
        if inject(&subject, fault.clone()).await {
            let error = destination.write(&batch()).await.expect_err("something is wrong");
            words.push(format!("{error} {error:?} {:?}", destination.probe().await));
            subject.recover().await;
        }
    }
    tell_no_secret(&subject, &words);
}

/// A redirect leads the secret to nobody.
pub async fn a_redirect_is_not_followed<S: Subject>() {
    let subject = S::start().await;
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.expect("loopback sockets can be opened");
    let address = elsewhere.local_addr().expect("it has an address");
    if !inject(&subject, Fault::Redirect(format!("http://{address}"))).await {
        return;
    }
    let destination = subject.destination();
    destination.write(&batch()).await.expect_err("nothing was written");
    // Whoever came before us comes first.
    let ours = TcpStream::connect(address).await.expect("it listens");
    let (mut stream, peer) = elsewhere.accept().await.expect("we are there");
    if peer != ours.local_addr().expect("it has an address") {
        let mut received = vec![0; 4096];
        let length = stream.read(&mut received).await.unwrap_or_default();
        panic!("it was followed: {}", String::from_utf8_lossy(&received[..length]));
    }
}

fn batch() -> Batch {
    History::default().saves("products", 3).iter().map(|change| operation(change, 1)).collect()
}
