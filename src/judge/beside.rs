//! A pure rule as a judge: threads of its own call it, so the engine never waits for it.

use super::{Example, Judge, Response, Said, Verdict};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What is called: a text in, a verdict out.
type Call = dyn Fn(&Example, &str) -> Verdict + Send + Sync;

/// Threads that judge one response at a time.
pub struct Beside {
    asked: Option<Sender<Response>>,
    judged: Receiver<(usize, Verdict)>,
    outstanding: usize,
    threads: Vec<JoinHandle<()>>,
}

impl Beside {
    /// Starts so many threads.
    pub fn new(rule: Arc<Call>, threads: usize) -> Self {
        let (asked, inbox) = channel::<Response>();
        let (outbox, judged) = channel();
        let inbox = Arc::new(Mutex::new(inbox));
        let start = |_| {
            let (rule, inbox, outbox) = (rule.clone(), inbox.clone(), outbox.clone());
            thread::spawn(move || {
                loop {
                    let next = inbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(response) = next else { return };
                    let verdict = verdict(&*rule, &response);
                    if outbox.send((response.ticket, verdict)).is_err() {
                        return;
                    }
                }
            })
        };
        Self {
            asked: Some(asked),
            judged,
            outstanding: 0,
            threads: (0..threads.max(1)).map(start).collect(),
        }
    }
}

/// A panic is a bug of the rule; it costs this row its verdict and nobody else's.
fn verdict(rule: &Call, response: &Response) -> Verdict {
    let Said::Text(text) = &response.said else {
        return Verdict::failed("the judge reads texts");
    };
    let judged = catch_unwind(AssertUnwindSafe(|| rule(&response.example, text)));
    judged.unwrap_or_else(|_| Verdict::failed("the judge panicked"))
}

impl Judge for Beside {
    fn submit(&mut self, responses: Vec<Response>) {
        self.outstanding += responses.len();
        let asked = self.asked.as_ref().expect("open until dropped");
        for response in responses {
            // The threads end only when this end is dropped.
            asked.send(response).expect("threads that listen");
        }
    }

    fn poll(&mut self, wait: Duration, sink: &mut dyn FnMut(usize, Verdict)) {
        let mut next = self.judged.try_recv().ok();
        if next.is_none() && self.outstanding > 0 && !wait.is_zero() {
            next = self.judged.recv_timeout(wait).ok();
        }
        while let Some((ticket, verdict)) = next {
            self.outstanding -= 1;
            sink(ticket, verdict);
            next = self.judged.try_recv().ok();
        }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        drop(self.asked.take());
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
