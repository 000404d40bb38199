//! A judge that is a program of the user's: it stays alive, reads a row as one line of JSON and writes one line back for each. A copy of it
//! has one worker thread, which starts its processes and keeps the clock, and each process three helpers: one writes rows, one reads answers,
//! one reads error output. So a full pipe, a slow row or a dead process holds up no other copy and never the caller.
//!
//! A row's verdict is to depend on the row alone, for any number of copies and rows in hand. Therefore no row fails for what happened while
//! others were in hand with it: it is asked again by itself, after a crash on a process that has answered nothing else.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, mpsc};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// A program that judges, and how it is run.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandConfig {
    /// The program and its arguments; no shell is in between.
    pub command: Vec<String>,
    /// A row that is not answered within this time of its process's last answer, or of its sending if that is later, is given up.
    pub timeout: Duration,
    /// Processes that run side by side.
    pub copies: usize,
    /// Rows that one process has in hand at once.
    pub batch: usize,
}

/// What came of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Its terms; a `reward` is the term of that name.
    Terms(BTreeMap<String, f64>),
    /// Why it has none, in a part of a sentence.
    Failed(String),
}

/// What went wrong so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Troubles {
    /// Processes started beyond the first of each copy.
    pub restarts: usize,
    /// Processes that ended, or closed their output, by themselves.
    pub crashes: usize,
    /// Processes killed because a row took too long.
    pub timeouts: usize,
    /// Rows that failed, for whatever reason.
    pub failed_rows: usize,
    /// Lines of output that answered no row in hand.
    pub ignored_lines: usize,
    /// Lines of error output, said or not.
    pub error_lines: usize,
}

/// Takes a line for the user to see.
pub type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// The running copies of the program. Dropping it ends them.
pub struct CommandJudge {
    shared: Arc<Shared>,
    answers: mpsc::Receiver<(usize, Answer)>,
    workers: Vec<JoinHandle<()>>,
    outstanding: usize,
}

/// A line that goes on for longer is no answer, and not worth the memory.
const LONGEST_LINE: u64 = 64 << 20;

/// An error line that goes on for longer is taken for several.
const LONGEST_ERROR: u64 = 4 << 10;

/// Error lines of one process that are said, and of all: a program that crashes on every row would say its traceback a thousand times.
const SAID_OF_ONE: usize = 20;
const SAID_OF_ALL: usize = 200;

/// Characters that a failure quotes.
const QUOTED: usize = 200;

/// After this many processes in a row that answered nothing, the next one is started with a delay.
const FRUITLESS: u32 = 5;
const LONGEST_DELAY: Duration = Duration::from_millis(100);

/// A start may fail because the machine is out of processes for a moment.
const START_ATTEMPTS: u32 = 3;

/// A process that closed its output may take this long to exit, and the helpers this long to read what a dead process left.
const PATIENCE: Duration = Duration::from_secs(2);

/// From the end of the input to the kill, when the judge is dropped.
const GRACE: Duration = Duration::from_millis(250);

/// How often a worker looks whether a process with rows in hand is still there: its output stays open if a child of its own has it too.
const LOOK: Duration = Duration::from_millis(100);

impl CommandJudge {
    /// Starts the copies. Error output goes line by line to `say`, within limits. The error is a sentence, with the program's name.
    pub fn start(config: &CommandConfig, say: Say) -> Result<Self, String> {
        if config.command.is_empty() {
            return Err("the judge's command is empty: give a program and its arguments".into());
        }
        let copies = config.copies.max(1);
        let (answers_in, answers) = mpsc::channel();
        let shared = Arc::new(Shared {
            config: config.clone(),
            say,
            said: AtomicUsize::new(0),
            state: Mutex::new(State::new(copies)),
            wake: (0..copies).map(|_| Condvar::new()).collect(),
            answers: answers_in,
        });
        let mut judge = Self {
            shared,
            answers,
            workers: Vec::new(),
            outstanding: 0,
        };
        let (started, starts) = mpsc::channel();
        for copy in 0..copies {
            let (shared, started) = (Arc::clone(&judge.shared), started.clone());
            let worker = helper("judge", move || shared.work(copy, started));
            judge.workers.push(worker.map_err(|e| config.not_started(&e))?);
        }
        drop(started);
        starts.iter().collect::<Result<(), String>>()?;
        Ok(judge)
    }

    /// Hands in a row: `body` is its JSON object without an `id`, which is added here. Never blocks.
    pub fn submit(&mut self, ticket: usize, body: String) {
        self.outstanding += 1;
        let mut state = self.shared.lock();
        state.fresh.push_back(Row {
            ticket,
            body,
            alone: false,
        });
        let batch = self.shared.batch();
        for (hand, wake) in state.hands.iter().zip(&self.shared.wake) {
            if hand.held.len() < batch {
                wake.notify_one();
            }
        }
    }

    /// Gives the answers that have come to `sink`, by ticket. If there is none, and something is outstanding, waits at most `wait` for one.
    pub fn poll(&mut self, wait: Duration, sink: &mut dyn FnMut(usize, Answer)) {
        if self.outstanding == 0 {
            return;
        }
        let mut next = self.answers.recv_timeout(wait).ok();
        while let Some((ticket, answer)) = next {
            self.outstanding -= 1;
            sink(ticket, answer);
            next = self.answers.try_recv().ok();
        }
    }

    /// Rows handed in whose answer was not yet given out.
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// What went wrong so far.
    pub fn troubles(&self) -> Troubles {
        self.shared.lock().troubles
    }
}

impl Drop for CommandJudge {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.iter().for_each(Condvar::notify_one);
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

impl CommandConfig {
    /// The sentence for a program that does not start.
    fn not_started(&self, error: &io::Error) -> String {
        let program = &self.command[0];
        match error.kind() {
            io::ErrorKind::NotFound => format!(
                "the judge's program `{program}` was not found: give a path to it, or the name of a program on the PATH"
            ),
            _ => format!("the judge's program `{program}` cannot be started: {error}"),
        }
    }
}

/// What workers, helpers and the caller share.
struct Shared {
    config: CommandConfig,
    say: Say,
    said: AtomicUsize,
    state: Mutex<State>,
    /// One for each copy: wakes its worker.
    wake: Vec<Condvar>,
    answers: mpsc::Sender<(usize, Answer)>,
}

/// The rows, wherever they are.
struct State {
    /// Rows that were never sent.
    fresh: VecDeque<Row>,
    /// Rows to be asked again, each alone in hand.
    alone: VecDeque<Row>,
    hands: Vec<Hand>,
    closed: bool,
    next_id: u64,
    /// Processes in a row that ended without having answered anything.
    fruitless: u32,
    troubles: Troubles,
}

struct Row {
    ticket: usize,
    body: String,
    alone: bool,
}

/// What the current process of a copy has in hand.
#[derive(Default)]
struct Hand {
    /// Counts the processes: what helpers of an earlier one still report is not taken for this one's.
    process: u64,
    /// By the id on the wire, and so in the order of sending.
    held: BTreeMap<u64, Held>,
    /// When the process last answered a row; none for a process that has not.
    answered: Option<Instant>,
    ended: Option<End>,
    /// The row that was alone in hand when a process crashed that had answered others: the next process is asked this one first.
    retained: Option<Row>,
}

struct Held {
    row: Row,
    sent: Instant,
}

/// Why no more is read from a process.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Output,
    LongLine,
}

/// What a worker does next.
enum Step {
    Start,
    Send(Vec<String>),
    Overdue,
    Ended,
    Close,
}

/// What a process that is gone left behind.
struct Left {
    rows: Vec<Row>,
    answered: bool,
    end: Option<End>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the state")
    }

    fn batch(&self) -> usize {
        self.config.batch.max(1)
    }

    /// The life of a worker. It starts the processes itself, because the kernel ends them with the thread that started them.
    fn work(self: &Arc<Self>, copy: usize, started: mpsc::Sender<Result<(), String>>) {
        let mut process = match Process::start(self, copy) {
            Ok(process) => Some(process),
            Err(error) => {
                let _ = started.send(Err(self.config.not_started(&error)));
                return;
            }
        };
        let _ = started.send(Ok(()));
        // Whoever waits for the starts of all copies waits until nobody can send any more.
        drop(started);
        loop {
            match self.next_step(copy, process.as_ref()) {
                Step::Start => process = self.start_again(copy),
                Step::Send(lines) => {
                    if let Some(process) = &process {
                        process.send(lines);
                    }
                }
                Step::Overdue => self.give_up(copy, process.take()),
                Step::Ended => self.bury(copy, process.take()),
                Step::Close => break,
            }
        }
        if let Some(process) = process {
            process.close();
        }
    }

    /// Waits until there is something to do. A process that ended is noticed before a clock that ran out.
    fn next_step(&self, copy: usize, process: Option<&Process>) -> Step {
        let mut state = self.lock();
        loop {
            if state.closed {
                return Step::Close;
            }
            let hand = &state.hands[copy];
            let left = hand.time_left(self.config.timeout);
            match process {
                None if state.has_work(copy) => return Step::Start,
                None => {}
                Some(process) => {
                    if hand.ended.is_some() || left.is_some() && process.has_exited() {
                        return Step::Ended;
                    }
                    if left == Some(Duration::ZERO) {
                        return Step::Overdue;
                    }
                    let lines = state.take(copy, self.batch());
                    if !lines.is_empty() {
                        return Step::Send(lines);
                    }
                }
            }
            state = self.wait(copy, state, left.map(|left| left.min(LOOK)));
        }
    }

    /// Lets go of the state until the copy's worker is woken, or for so long.
    fn wait<'a>(&self, copy: usize, state: MutexGuard<'a, State>, limit: Option<Duration>) -> MutexGuard<'a, State> {
        let wake = &self.wake[copy];
        match limit {
            Some(limit) => wake.wait_timeout(state, limit).map(|(state, _)| state).ok(),
            None => wake.wait(state).ok(),
        }
        .expect("nothing panics while it holds the state")
    }

    /// Starts the copy's next process. If it cannot be started, one row fails for it.
    fn start_again(self: &Arc<Self>, copy: usize) -> Option<Process> {
        let mut problem = String::new();
        for attempt in 0..START_ATTEMPTS {
            let fruitless = self.lock().fruitless;
            let again = if attempt > 0 { LONGEST_DELAY } else { Duration::ZERO };
            if !self.pause(copy, delay(fruitless).max(again)) {
                return None;
            }
            match Process::start(self, copy) {
                Ok(process) => {
                    self.lock().troubles.restarts += 1;
                    return Some(process);
                }
                Err(error) => problem = self.config.not_started(&error),
            }
        }
        let mut state = self.lock();
        state.fruitless = state.fruitless.saturating_add(1);
        if let Some(row) = state.next_row(copy) {
            self.deliver(&mut state, row.ticket, Answer::Failed(problem));
        }
        None
    }

    /// Waits for so long; false if the judge is closed meanwhile.
    fn pause(&self, copy: usize, time: Duration) -> bool {
        let since = Instant::now();
        let mut state = self.lock();
        while !state.closed && since.elapsed() < time {
            let left = time.saturating_sub(since.elapsed());
            state = self.wait(copy, state, Some(left));
        }
        !state.closed
    }

    /// Kills a process that took too long. A row that was alone in hand took that long itself; of several nobody knows which.
    fn give_up(&self, copy: usize, process: Option<Process>) {
        let left = self.lock().clear(copy);
        drop(process);
        let mut state = self.lock();
        state.troubles.timeouts += 1;
        match <[Row; 1]>::try_from(left.rows) {
            Ok([row]) => {
                let why = format!("no answer within {} s", self.config.timeout.as_secs_f64());
                self.deliver(&mut state, row.ticket, Answer::Failed(why));
            }
            Err(rows) => self.ask_alone(&mut state, rows),
        }
    }

    /// Takes leave of a process that crashed. A row fails for it if nothing else can have been the reason: it was alone in hand, and the
    /// process had answered nothing before. So a program that ends after every tenth answer loses no row.
    fn bury(&self, copy: usize, process: Option<Process>) {
        // What it wrote before its end is still to be read.
        self.wait_until(|| self.lock().hands[copy].ended.is_some());
        let left = self.lock().clear(copy);
        let why = process
            .map(|process| process.epitaph(self, left.end))
            .unwrap_or_default();
        let mut state = self.lock();
        state.troubles.crashes += 1;
        if !left.answered {
            state.fruitless = state.fruitless.saturating_add(1);
        }
        match <[Row; 1]>::try_from(left.rows) {
            Ok([row]) if !left.answered => self.deliver(&mut state, row.ticket, Answer::Failed(why)),
            Ok([row]) => state.hands[copy].retained = Some(Row { alone: true, ..row }),
            Err(rows) => self.ask_alone(&mut state, rows),
        }
    }

    /// Queues rows again, each to be asked by itself.
    fn ask_alone(&self, state: &mut State, rows: Vec<Row>) {
        state
            .alone
            .extend(rows.into_iter().map(|row| Row { alone: true, ..row }));
        self.wake.iter().for_each(Condvar::notify_one);
    }

    /// Hands an answer to the caller.
    fn deliver(&self, state: &mut State, ticket: usize, answer: Answer) {
        state.troubles.failed_rows += usize::from(matches!(answer, Answer::Failed(_)));
        // Nobody receives any more when the judge is being dropped.
        let _ = self.answers.send((ticket, answer));
    }

    /// Takes a line of a process's output; false if another process has taken its place.
    fn settle(&self, copy: usize, process: u64, line: &[u8]) -> bool {
        let (ids, answer) = interpret(line);
        let mut state = self.lock();
        let hand = &mut state.hands[copy];
        if hand.process != process {
            return false;
        }
        if let Some(held) = ids.iter().find_map(|id| hand.held.remove(id)) {
            hand.answered = Some(Instant::now());
            state.fruitless = 0;
            self.deliver(&mut state, held.row.ticket, answer);
            self.wake[copy].notify_one();
            return true;
        }
        state.troubles.ignored_lines += 1;
        let first = state.troubles.ignored_lines == 1;
        drop(state);
        if first {
            (self.say)(&format!(
                "a line of output that answers no row is ignored: {}",
                quote(line)
            ));
        }
        true
    }

    /// Notes that no more is read from a process.
    fn end(&self, copy: usize, process: u64, end: End) {
        let mut state = self.lock();
        let hand = &mut state.hands[copy];
        if hand.process == process {
            hand.ended = Some(end);
            self.wake[copy].notify_one();
        }
    }

    /// Waits for something that no condition variable tells of; gives up when patience or the judge is at its end.
    fn wait_until(&self, mut done: impl FnMut() -> bool) -> bool {
        wait_until(PATIENCE, || done() || self.lock().closed) && done()
    }
}

impl State {
    fn new(copies: usize) -> Self {
        Self {
            fresh: VecDeque::new(),
            alone: VecDeque::new(),
            hands: (0..copies).map(|_| Hand::default()).collect(),
            closed: false,
            next_id: 0,
            fruitless: 0,
            troubles: Troubles::default(),
        }
    }

    fn has_work(&self, copy: usize) -> bool {
        self.hands[copy].retained.is_some() || !self.alone.is_empty() || !self.fresh.is_empty()
    }

    /// The row that an empty hand takes.
    fn next_row(&mut self, copy: usize) -> Option<Row> {
        let retained = self.hands[copy].retained.take();
        let again = retained.or_else(|| self.alone.pop_front());
        again.or_else(|| self.fresh.pop_front())
    }

    /// Takes rows in hand, as many as there is room for, and gives their lines. A row to be asked alone waits for an empty hand; until
    /// some copy has one, all of them take no others.
    fn take(&mut self, copy: usize, batch: usize) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let held = &self.hands[copy].held;
            let full = held.values().any(|held| held.row.alone) || held.len() >= batch;
            let row = match held.is_empty() {
                true => self.next_row(copy),
                false if full || !self.alone.is_empty() => None,
                false => self.fresh.pop_front(),
            };
            let Some(row) = row else { return lines };
            self.next_id += 1;
            lines.push(wire_line(self.next_id, &row.body));
            let sent = Instant::now();
            self.hands[copy].held.insert(self.next_id, Held { row, sent });
        }
    }

    /// Empties the hand for the copy's next process; from now on lines of the present one count for nothing.
    fn clear(&mut self, copy: usize) -> Left {
        let hand = &mut self.hands[copy];
        hand.process += 1;
        let held = std::mem::take(&mut hand.held);
        Left {
            rows: held.into_values().map(|held| held.row).collect(),
            answered: hand.answered.take().is_some(),
            end: hand.ended.take(),
        }
    }
}

impl Hand {
    /// The time left to the row that was sent first; none if none is in hand.
    fn time_left(&self, timeout: Duration) -> Option<Duration> {
        let (_, first) = self.held.first_key_value()?;
        let clock = first.sent.max(self.answered.unwrap_or(first.sent));
        Some(timeout.saturating_sub(clock.elapsed()))
    }
}

/// One process and its helpers. Dropping it kills its process group.
struct Process {
    child: Child,
    status: Option<ExitStatus>,
    rows: Option<mpsc::Sender<String>>,
    errors: Option<JoinHandle<()>>,
    last_error: Arc<Mutex<Vec<u8>>>,
}

impl Process {
    fn start(shared: &Arc<Shared>, copy: usize) -> io::Result<Self> {
        let mut child = command(&shared.config.command).spawn()?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (rows, to_write) = mpsc::channel();
        // From here on a failure drops it, which kills the child.
        let mut process = Self {
            child,
            status: None,
            rows: Some(rows),
            errors: None,
            last_error: Arc::default(),
        };
        let stdin = stdin.expect("a pipe was asked for");
        helper("judge input", move || write_rows(stdin, &to_write))?;
        let stdout = stdout.expect("a pipe was asked for");
        let number = shared.lock().hands[copy].process;
        let own = Arc::clone(shared);
        helper("judge output", move || read_answers(stdout, &own, copy, number))?;
        let stderr = stderr.expect("a pipe was asked for");
        let (own, last) = (Arc::clone(shared), Arc::clone(&process.last_error));
        process.errors = Some(helper("judge errors", move || read_errors(stderr, &own, &last))?);
        Ok(process)
    }

    /// Gives lines to the writer. One that has ended, because the process reads no more, takes them too: the clock or the crash tells.
    fn send(&self, lines: Vec<String>) {
        for line in lines {
            let _ = self.rows.as_ref().map(|rows| rows.send(line));
        }
    }

    /// Whether it has exited. It is not reaped for that, so its number is not given to another.
    fn has_exited(&self) -> bool {
        if self.status.is_some() {
            return true;
        }
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: siginfo_t is plain data of which all zeros is a value, and waitid writes to nothing else.
        unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let failed = libc::waitid(libc::P_PID, self.child.id(), &mut info, options) != 0;
            failed || info.si_pid() != 0
        }
    }

    /// Kills the group, whether or not its first process still runs, and reaps that.
    fn kill(&mut self) {
        if self.status.is_some() {
            return;
        }
        let group = i32::try_from(self.child.id()).expect("process numbers are 32 bits");
        // SAFETY: a system call without memory. The group is the child's own, and since the child is not reaped, nobody else's.
        unsafe { libc::kill(-group, libc::SIGKILL) };
        self.status = self.child.wait().ok();
    }

    /// How it died, and the last it said.
    fn epitaph(mut self, shared: &Shared, end: Option<End>) -> String {
        let by_itself = end != Some(End::LongLine) && shared.wait_until(|| self.has_exited());
        self.kill();
        let status = self.status.unwrap_or_default();
        let how = match (end, by_itself, status.code(), status.signal()) {
            (Some(End::LongLine), ..) => format!("wrote a line of more than {} MiB", LONGEST_LINE >> 20),
            (_, false, ..) => "closed its output".into(),
            (_, _, Some(code), _) => format!("exited (status {code})"),
            (_, _, _, signal) => format!("exited (signal {})", signal.unwrap_or_default()),
        };
        if let Some(errors) = self.errors.take() {
            shared.wait_until(|| errors.is_finished());
        }
        let last = self.last_error.lock().expect("nothing panics while it holds a line");
        match quote(&last).as_str() {
            "" => format!("the judge {how}"),
            line => format!("the judge {how}: {line}"),
        }
    }

    /// Ends its input, so that it may end by itself, and kills it if it does not.
    fn close(mut self) {
        self.rows = None;
        wait_until(GRACE, || self.has_exited());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The command, in a process group of its own: what it starts ends with it, and Ctrl-C reaches the run alone, which then ends it.
fn command(words: &[String]) -> Command {
    let mut command = Command::new(&words[0]);
    // Python's output waits in a buffer where it is no terminal, and a judge that forgets to flush would answer nothing in time.
    command.args(&words[1..]).process_group(0).env("PYTHONUNBUFFERED", "1");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    #[cfg(target_os = "linux")]
    {
        let parent = std::process::id();
        // SAFETY: between fork and exec only prctl and getppid are called, which are system calls and allocate nothing.
        unsafe {
            command.pre_exec(move || {
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                    return Err(io::Error::last_os_error());
                }
                // A parent that was killed before the call sends no signal any more.
                match u32::try_from(libc::getppid()) == Ok(parent) {
                    true => Ok(()),
                    false => Err(io::Error::from_raw_os_error(libc::ESRCH)),
                }
            });
        }
    }
    command
}

/// A named thread; the error is the operating system's, which may have no more to give.
fn helper(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name.into()).spawn(body)
}

/// Writes lines until there are no more, or nobody reads them.
fn write_rows(mut pipe: ChildStdin, rows: &mpsc::Receiver<String>) {
    for line in rows {
        if pipe.write_all(line.as_bytes()).is_err() {
            return;
        }
    }
}

/// Reads lines until the output ends, or a line does not.
fn read_answers(pipe: ChildStdout, shared: &Shared, copy: usize, process: u64) {
    let mut pipe = BufReader::with_capacity(64 << 10, pipe);
    let mut line = Vec::new();
    loop {
        line.clear();
        line.shrink_to(1 << 20);
        let end = match (&mut pipe).take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Ok(length) if line.ends_with(b"\n") && length > 0 => None,
            Ok(length) if length as u64 == LONGEST_LINE => Some(End::LongLine),
            _ => Some(End::Output),
        };
        // A line that its writer's death cut off is none, unless it is an answer all the same.
        let whole = end.is_none() || end == Some(End::Output) && parse(&line).is_some();
        if whole && !shared.settle(copy, process, &line) {
            return;
        }
        if let Some(end) = end {
            return shared.end(copy, process, end);
        }
    }
}

/// Reads error output to its end, so that no process waits for room in the pipe, and keeps the last line that is not empty.
fn read_errors(pipe: ChildStderr, shared: &Shared, last: &Mutex<Vec<u8>>) {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    for count in 0_usize.. {
        line.clear();
        if (&mut pipe)
            .take(LONGEST_ERROR)
            .read_until(b'\n', &mut line)
            .unwrap_or(0)
            == 0
        {
            return;
        }
        if !line.trim_ascii().is_empty() {
            last.lock()
                .expect("nothing panics while it holds a line")
                .clone_from(&line);
        }
        shared.lock().troubles.error_lines += 1;
        if count < SAID_OF_ONE && shared.said.fetch_add(1, Ordering::Relaxed) < SAID_OF_ALL {
            (shared.say)(String::from_utf8_lossy(&line).trim_end());
        }
    }
}

/// The delay of the next start, after so many processes that answered nothing.
fn delay(fruitless: u32) -> Duration {
    match fruitless.checked_sub(FRUITLESS) {
        None => Duration::ZERO,
        Some(more) => Duration::from_millis(10 << more.min(4)).min(LONGEST_DELAY),
    }
}

/// Looks again and again, at first often.
fn wait_until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let since = Instant::now();
    let mut nap = Duration::from_micros(200);
    while !done() {
        if since.elapsed() >= limit {
            return false;
        }
        std::thread::sleep(nap);
        nap = (nap * 2).min(Duration::from_millis(10));
    }
    true
}

/// The row as it is sent. A line break in JSON is white space, and would end the line.
fn wire_line(id: u64, body: &str) -> String {
    let fields = body.trim().strip_prefix('{').unwrap_or(body).trim_start();
    let comma = if fields.starts_with('}') { "" } else { "," };
    let mut line = format!("{{\"id\":{id}{comma}{fields}").replace(['\n', '\r'], " ");
    line.push('\n');
    line
}

/// An answer as it is sent; what else a program writes in it is its own affair.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    reward: Option<&'a RawValue>,
    #[serde(borrow)]
    terms: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// The object in a line. A struct is read from a list too, hence the look at the first character.
fn parse(line: &[u8]) -> Option<Wire<'_>> {
    let object = line.trim_ascii_start().starts_with(b"{");
    serde_json::from_slice(line).ok().filter(|_| object)
}

/// The ids that a line may be about, in the order in which they are to be tried, and what it says.
fn interpret(line: &[u8]) -> (Vec<u64>, Answer) {
    if let Some(wire) = parse(line) {
        let ids = wire.id.and_then(number).filter(|id| *id >= 0.0 && id.fract() == 0.0);
        return (ids.map(|id| id as u64).into_iter().collect(), wire.answer(line));
    }
    // Python writes NaN, which is no JSON: better that row's failure than a wait for another answer. A list, say, is about no row.
    let ids = match serde_json::from_slice::<IgnoredAny>(line) {
        Ok(_) => Vec::new(),
        Err(_) => find_ids(line)
            .filter_map(|at| String::from_utf8_lossy(&line[at]).parse().ok())
            .take(64)
            .collect(),
    };
    let why = match ids.is_empty() {
        true => String::new(),
        false => format!("answered what is no JSON: {}", quote(&without_ids(line))),
    };
    (ids, Answer::Failed(why))
}

impl Wire<'_> {
    fn answer(&self, line: &[u8]) -> Answer {
        if let Some(error) = self.error {
            let text = serde_json::from_str(error.get()).unwrap_or_else(|_| error.get().to_owned());
            return Answer::Failed(quote(text.as_bytes()));
        }
        match self.numbers() {
            Ok(terms) if terms.is_empty() => Answer::Failed(format!(
                "expected `reward`, `terms` or `error` in an answer, found none in {}",
                quote(&without_ids(line))
            )),
            Ok(terms) => Answer::Terms(terms),
            Err(why) => Answer::Failed(why),
        }
    }

    fn numbers(&self) -> Result<BTreeMap<String, f64>, String> {
        let found = |what: &str, raw: &RawValue, expected: &str| {
            format!("`{what}` is {}, expected {expected}", quote(raw.get().as_bytes()))
        };
        let mut raws = BTreeMap::<String, &RawValue>::new();
        if let Some(terms) = self.terms {
            raws = serde_json::from_str(terms.get()).map_err(|_| found("terms", terms, "an object of numbers"))?;
        }
        raws.extend(self.reward.map(|reward| ("reward".into(), reward)));
        let finite = |(name, raw): (String, &RawValue)| match number(raw) {
            Some(value) => Ok((name, value)),
            None => Err(found(&name, raw, "a finite number")),
        };
        raws.into_iter().map(finite).collect()
    }
}

fn number(raw: &RawValue) -> Option<f64> {
    serde_json::from_str(raw.get())
        .ok()
        .filter(|value: &f64| value.is_finite())
}

/// Where in a line the digits of an `"id": 17` are.
fn find_ids(line: &[u8]) -> impl Iterator<Item = std::ops::Range<usize>> {
    const KEY: &[u8] = b"\"id\"";
    let spaces = |from: usize| {
        from + line[from..]
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count()
    };
    let keys = line.windows(KEY.len()).enumerate().filter(|(_, window)| *window == KEY);
    keys.filter_map(move |(at, _)| {
        let colon = spaces(at + KEY.len());
        let first = spaces(colon + usize::from(line.get(colon) == Some(&b':')));
        let digits = line[first..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        (first > colon && digits > 0).then(|| first..first + digits)
    })
}

/// A line with its ids left out, since the number that a row has on the wire is not the row's own.
fn without_ids(line: &[u8]) -> Vec<u8> {
    let (mut kept, mut from) = (Vec::new(), 0);
    for at in find_ids(line) {
        kept.extend_from_slice(&line[from..at.start]);
        kept.extend_from_slice("…".as_bytes());
        from = at.end;
    }
    kept.extend_from_slice(&line[from..]);
    kept
}

/// The beginning of a text, on one line.
fn quote(text: &[u8]) -> String {
    let head = &text[..text.len().min(8 * QUOTED)];
    let head = String::from_utf8_lossy(head);
    let plain = head.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut quoted: String = plain.clone().take(QUOTED).collect();
    if plain.count() > QUOTED || text.len() > 8 * QUOTED {
        quoted.push('…');
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::sync::OnceLock;
    use std::sync::atomic::AtomicU32;

    /// What a row asks of it, it does; `reward` is what a row is worth.
    const PROGRAM: &str = r#"
import json, os, signal, sys, time

def reward(text):
    return sum(text.encode()) % 1000 / 8

def write(text):
    os.write(1, text if isinstance(text, bytes) else text.encode())

def answer(row):
    text = row["response"]
    kind = text.split(":")[0]
    good = {"id": row["id"], "reward": reward(text)}
    if kind == "exit":
        print("it was", text, file=sys.stderr, flush=True)
        os._exit(3)
    if kind == "segv":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "hang":
        time.sleep(1000)
    if kind == "close":
        os.close(1)
        time.sleep(1000)
    if kind == "half":
        write('{"id": %d, "rew' % row["id"])
        os._exit(4)
    if kind == "garbage":
        write(b'loading \xff\xfe {\n\n[1, 2\n17\n{"id": "x"}\n"id": 1000000000000\n[{"id": %d}]\n' % row["id"])
    if kind == "flood":
        os.write(2, (b"e" * 99 + b"\n") * 10000)
    if kind == "sleep":
        time.sleep(0.01)
    if kind == "unknown":
        write(json.dumps({"id": 10**12, "reward": -1}) + "\n")
    if kind == "nan":
        good["reward"] = float("nan")
    if kind == "text":
        good["reward"] = "high"
    if kind == "none":
        del good["reward"]
    if kind == "error":
        good["error"] = "cannot judge " + text
    if kind == "terms":
        good["terms"] = {"length": len(text), "zero": 0.0}
    write(json.dumps(good) + "\n")
    if kind == "twice":
        good["reward"] += 1
        write(json.dumps(good) + "\n")

answered, last = 0, int(sys.argv[2])
rest = b""
while chunk := os.read(0, 1 << 16):
    *lines, rest = (rest + chunk).split(b"\n")
    for line in reversed(lines):
        answer(json.loads(line))
        answered += 1
        if answered == last:
            os._exit(0)
"#;

    fn reward(text: &str) -> f64 {
        f64::from(text.bytes().map(u32::from).sum::<u32>() % 1000) / 8.0
    }

    fn quiet() -> Say {
        Arc::new(|_| ())
    }

    /// A word that no other command line on this machine has.
    fn marker() -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        format!("judge-marker-{}-{count}-end", std::process::id())
    }

    /// Processes with this word in their command line.
    fn running(marker: &str) -> Vec<u32> {
        let processes = std::fs::read_dir("/proc").expect("a list of processes").flatten();
        let numbers = processes.filter_map(|process| process.file_name().to_str()?.parse().ok());
        let line = |number: &u32| std::fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        numbers
            .filter(|number| String::from_utf8_lossy(&line(number)).contains(marker))
            .collect()
    }

    /// Drops the judge, and looks whether its processes are gone and reaped.
    fn drop_all(judge: CommandJudge, marker: &str) {
        let before = running(marker);
        let since = Instant::now();
        drop(judge);
        assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
        assert_eq!(running(marker), Vec::<u32>::new());
        assert!(
            before
                .iter()
                .all(|process| !Path::new(&format!("/proc/{process}")).exists())
        );
    }

    fn config(command: &[&str]) -> CommandConfig {
        CommandConfig {
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            timeout: Duration::from_secs(60),
            copies: 1,
            batch: 1,
        }
    }

    /// The interpreter itself: the `python3` on the PATH may be a script that takes its time to find it.
    fn python() -> &'static str {
        static PATH: OnceLock<String> = OnceLock::new();
        PATH.get_or_init(|| {
            let asked = Command::new("python3")
                .args(["-c", "import sys; print(sys.executable)"])
                .output();
            let path = asked.expect("a python3 on the PATH").stdout;
            String::from_utf8_lossy(&path).trim().to_owned()
        })
    }

    fn program(marker: &str, last: &str) -> CommandConfig {
        config(&[python(), "-S", "-c", PROGRAM, marker, last])
    }

    fn body(response: &str) -> String {
        serde_json::json!({"messages": [], "response": response, "row": {"id": 1}}).to_string()
    }

    fn start(config: &CommandConfig) -> CommandJudge {
        CommandJudge::start(config, quiet()).expect("a program that starts")
    }

    /// All answers, by ticket.
    fn judge_all(judge: &mut CommandJudge, bodies: impl IntoIterator<Item = String>) -> Vec<Answer> {
        let mut answers = Vec::new();
        for (ticket, body) in bodies.into_iter().enumerate() {
            judge.submit(ticket, body);
            answers.push(None);
        }
        let since = Instant::now();
        while judge.outstanding() > 0 {
            assert!(since.elapsed() < Duration::from_secs(300), "{:?}", judge.troubles());
            judge.poll(Duration::from_secs(1), &mut |ticket, answer| {
                assert_eq!(answers[ticket].replace(answer), None, "one answer a row");
            });
        }
        answers
            .into_iter()
            .map(|answer| answer.expect("one answer a row"))
            .collect()
    }

    fn failed(why: &str) -> Answer {
        Answer::Failed(why.into())
    }

    fn terms(terms: &[(&str, f64)]) -> Answer {
        Answer::Terms(terms.iter().map(|(name, value)| ((*name).into(), *value)).collect())
    }

    fn expected(text: &str) -> Answer {
        let own = ("reward", reward(text));
        match text.split(':').next().expect("a kind") {
            "exit" => failed(&format!("the judge exited (status 3): it was {text}")),
            "segv" => failed("the judge exited (signal 11)"),
            "half" => failed("the judge exited (status 4)"),
            "close" => failed("the judge closed its output"),
            "hang" => failed("no answer within 6 s"),
            "nan" => failed(r#"answered what is no JSON: {"id": …, "reward": NaN}"#),
            "text" => failed(r#"`reward` is "high", expected a finite number"#),
            "none" => failed(r#"expected `reward`, `terms` or `error` in an answer, found none in {"id": …}"#),
            "error" => failed(&format!("cannot judge {text}")),
            "terms" => terms(&[own, ("length", text.len() as f64), ("zero", 0.0)]),
            _ => terms(&[own]),
        }
    }

    /// Mostly harmless rows, and among them, scattered, those that are not.
    fn rows() -> Vec<String> {
        let rare = ["hang", "exit", "exit", "segv", "close", "half", "exit", "segv"];
        let kinds = [
            "plain", "garbage", "plain", "twice", "nan", "plain", "unknown", "text", "error", "terms", "none", "plain",
            "sleep",
        ];
        let row = |n: usize| match n % 125 {
            60 => format!("{}:{n}", rare[n / 125 % rare.len()]),
            90 => format!("flood:{n}"),
            _ => format!("{}:{n}", kinds[n % kinds.len()]),
        };
        (0..1050).map(row).collect()
    }

    #[test]
    fn every_row_gets_its_own_answer_whatever_the_others_do() {
        let rows = rows();
        let expected: Vec<_> = rows.iter().map(|text| expected(text)).collect();
        let check = |copies: usize, batch: usize| {
            let marker = marker();
            let config = CommandConfig {
                timeout: Duration::from_secs(6),
                copies,
                batch,
                ..program(&marker, "0")
            };
            let mut judge = start(&config);
            let answers = judge_all(&mut judge, rows.iter().map(|text| body(text)));
            for ((text, answer), expected) in rows.iter().zip(&answers).zip(&expected) {
                assert_eq!(answer, expected, "{text}, {copies} copies, {batch} in hand");
            }
            let troubles = judge.troubles();
            let failures = expected.iter().filter(|answer| matches!(answer, Answer::Failed(_)));
            assert_eq!(troubles.failed_rows, failures.count());
            assert!(
                troubles.ignored_lines > 100 && troubles.error_lines > 10_000,
                "{troubles:?}"
            );
            assert!(
                troubles.restarts >= 4 && troubles.crashes >= 7 && troubles.timeouts >= 1,
                "{troubles:?}"
            );
            // A row that kills the program meets at most one more process after the first; with neighbours, one more to be told from them.
            let killers = 7;
            assert!(
                troubles.crashes <= killers * if batch == 1 { 2 } else { 3 },
                "{troubles:?}"
            );
            drop_all(judge, &marker);
        };
        std::thread::scope(|scope| {
            let settings = [(1, 1), (1, 8), (2, 1), (2, 8), (4, 1), (4, 8)];
            for (copies, batch) in settings {
                scope.spawn(move || check(copies, batch));
            }
        });
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        for (word, says) in [
            (
                "no-such-program-anywhere",
                "was not found: give a path to it, or the name of a program on the PATH",
            ),
            ("/", "cannot be started: Permission denied (os error 13)"),
        ] {
            let told = CommandJudge::start(&config(&[word]), quiet())
                .err()
                .expect("no such program");
            assert_eq!(told, format!("the judge's program `{word}` {says}"));
        }
        let told = CommandJudge::start(&config(&[]), quiet()).err().expect("no program");
        assert_eq!(told, "the judge's command is empty: give a program and its arguments");
    }

    fn memory_mib() -> u64 {
        let pages = std::fs::read_to_string("/proc/self/statm").expect("own memory");
        let resident = pages.split(' ').nth(1).expect("the second number");
        resident.parse::<u64>().expect("a number") / 256
    }

    /// Programs that are no judges. Rows of 200 KB, 8 in hand, are more than a pipe holds.
    #[test]
    fn rows_fail_one_by_one_if_the_program_is_no_judge() {
        let late = "no answer within 0.3 s";
        let long = "the judge wrote a line of more than 64 MiB";
        let cases: [(&[&str], &str); 8] = [
            (&["true"], "the judge exited (status 0)"),
            (
                &["sh", "-c", "echo one >&2; echo the last >&2; echo >&2; exit 7"],
                "the judge exited (status 7): the last",
            ),
            (&["sleep", "1000"], late),
            (&["yes"], late),
            (&["sh", "-c", "yes >&2"], late),
            (&["sh", "-c", "sleep 1000 & exit 5"], "the judge exited (status 5)"),
            (&["cat", "/dev/zero"], long),
            (
                &["cat"],
                "expected `reward`, `terms` or `error` in an answer, found none in {\"id\":…,\"messages\":[]",
            ),
        ];
        for (command, why) in cases {
            for (copies, batch, rows) in [(1, 1, 2), (2, 8, 9)] {
                let config = CommandConfig {
                    timeout: Duration::from_millis(if command[0] == "cat" || why.contains("exited") {
                        20_000
                    } else {
                        300
                    }),
                    copies,
                    batch,
                    ..config(command)
                };
                let before = memory_mib();
                let mut judge = start(&config);
                let since = Instant::now();
                for answer in judge_all(&mut judge, vec![body(&"x".repeat(200_000)); rows]) {
                    match answer {
                        Answer::Failed(told) => assert!(told.starts_with(why), "{command:?}: {told}"),
                        terms => panic!("{command:?}: {terms:?}"),
                    }
                }
                drop(judge);
                assert!(
                    since.elapsed() < Duration::from_secs(60),
                    "{command:?}: {:?}",
                    since.elapsed()
                );
                let more = memory_mib().saturating_sub(before);
                assert!(more < 600, "{command:?}: {more} MiB more");
            }
        }
    }

    #[test]
    fn a_program_that_ends_after_every_tenth_answer_loses_no_row() {
        for (copies, batch) in [(1, 1), (1, 8), (3, 1), (3, 8)] {
            let config = CommandConfig {
                copies,
                batch,
                ..program(&marker(), "10")
            };
            let mut judge = start(&config);
            let rows: Vec<_> = (0..300).map(|n| format!("plain:{n}")).collect();
            let answers = judge_all(&mut judge, rows.iter().map(|text| body(text)));
            assert!(rows.iter().zip(answers).all(|(text, answer)| answer == expected(text)));
            let troubles = judge.troubles();
            assert_eq!(troubles.failed_rows, 0);
            assert!(troubles.restarts >= 27, "{troubles:?}");
        }
    }

    /// Rows of a megabyte fill the pipe while the program writes answers, and neither waits for the other.
    #[test]
    fn large_rows_pass() {
        let config = CommandConfig {
            batch: 8,
            ..program(&marker(), "0")
        };
        let rows: Vec<_> = (0..20)
            .map(|n| format!("flood:{n}{}", "é\n\u{2028}\"".repeat(150_000)))
            .collect();
        let answers = judge_all(&mut start(&config), rows.iter().map(|text| body(text)));
        assert!(rows.iter().zip(answers).all(|(text, answer)| answer == expected(text)));
    }

    #[test]
    fn a_drop_in_the_middle_leaves_no_process() {
        for rows in [
            &["plain:1", "hang:2", "hang:3"][..],
            &["plain:1"],
            &["flood:1", "close:2", "exit:3"],
            &[],
        ] {
            let marker = marker();
            let config = CommandConfig {
                copies: 3,
                batch: 2,
                ..program(&marker, "0")
            };
            let mut judge = start(&config);
            for ticket in 0..100 {
                rows.get(ticket % 3)
                    .into_iter()
                    .for_each(|row| judge.submit(ticket, body(row)));
            }
            judge.poll(Duration::from_secs(1), &mut |_, _| ());
            drop_all(judge, &marker);
        }
    }

    /// Not a test: the parent in the one below, which runs it in a process of its own.
    #[test]
    fn a_parent_that_waits() {
        if let Ok(marker) = std::env::var("ESSA_TEST_JUDGE_PARENT") {
            // Such a program does not notice that its input has ended.
            let sleep = "import time; print('{}', flush=True); time.sleep(1000)";
            let config = CommandConfig {
                copies: 2,
                ..config(&[python(), "-S", "-c", sleep, &marker])
            };
            let _judge = start(&config);
            std::thread::sleep(Duration::from_secs(100));
        }
    }

    #[test]
    fn a_parent_that_is_killed_leaves_no_process() {
        let marker = marker();
        let (_, module) = module_path!().split_once("::").expect("a module in a crate");
        let mut parent = Command::new(std::env::current_exe().expect("the tests"))
            .args([&format!("{module}::a_parent_that_waits"), "--exact", "--nocapture"])
            .env("ESSA_TEST_JUDGE_PARENT", &marker)
            .stdout(Stdio::null())
            .spawn()
            .expect("the tests");
        let wait = Duration::from_secs(30);
        assert!(wait_until(wait, || running(&marker).len() == 2), "two processes");
        parent.kill().expect("a process that runs");
        parent.wait().expect("a process that was killed");
        assert!(wait_until(wait, || running(&marker).is_empty()), "none");
    }

    #[test]
    fn error_output_is_said_within_limits() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let own = Arc::clone(&heard);
        let say: Say = Arc::new(move |line| own.lock().expect("a list").push(line.to_owned()));
        let script = "for i in $(seq 50); do echo line $i >&2; done; echo what; exit 1";
        let mut judge = CommandJudge::start(&config(&["sh", "-c", script]), say).expect("a shell");
        judge_all(&mut judge, (0..20).map(|_| body("plain")));
        drop(judge);
        let heard = heard.lock().expect("a list");
        let ignored = "a line of output that answers no row is ignored: what";
        assert_eq!(heard.iter().filter(|line| *line == ignored).count(), 1);
        assert_eq!(heard.len(), 1 + SAID_OF_ALL);
        assert_eq!(heard.iter().filter(|line| *line == "line 20").count(), 10);
    }

    #[test]
    fn answers_are_read_as_they_are_written() {
        let nothing = |rest: &str| {
            failed(&format!(
                "expected `reward`, `terms` or `error` in an answer, found none in {rest}"
            ))
        };
        for (line, ids, answer) in [
            (r#"{"id": 7, "reward": 0.5}"#, &[7][..], terms(&[("reward", 0.5)])),
            (
                r#" {"reward": -1e-3, "id": 7.0, "more": [{"id": 8}]} "#,
                &[7],
                terms(&[("reward", -1e-3)]),
            ),
            (
                r#"{"id": 7, "terms": {"a": 1, "reward": 2}, "reward": 3, "error": null}"#,
                &[7],
                terms(&[("a", 1.0), ("reward", 3.0)]),
            ),
            (
                r#"{"id": 7, "reward": 0.5, "error": " no\nway "}"#,
                &[7],
                failed("no way"),
            ),
            (r#"{"id": 7, "error": {"code": 5}}"#, &[7], failed(r#"{"code": 5}"#)),
            (
                r#"{"id": 7, "reward": true}"#,
                &[7],
                failed("`reward` is true, expected a finite number"),
            ),
            (
                r#"{"id": 7, "reward": 1e999}"#,
                &[7],
                failed("`reward` is 1e999, expected a finite number"),
            ),
            (
                r#"{"id": 7, "terms": {"a": 1, "b": []}}"#,
                &[7],
                failed("`b` is [], expected a finite number"),
            ),
            (
                r#"{"id": 7, "terms": [1]}"#,
                &[7],
                failed("`terms` is [1], expected an object of numbers"),
            ),
            (r#"{"id": 7, "terms": {}}"#, &[7], nothing(r#"{"id": …, "terms": {}}"#)),
            (
                r#"{"id": 7, "reward": null}"#,
                &[7],
                nothing(r#"{"id": …, "reward": null}"#),
            ),
            (
                r#"{"id": 7, "reward": Infinity}"#,
                &[7],
                failed(r#"answered what is no JSON: {"id": …, "reward": Infinity}"#),
            ),
            (
                r#"see: {"id" :7, "id":9,"#,
                &[7, 9],
                failed(r#"answered what is no JSON: see: {"id" :…, "id":…,"#),
            ),
            (r#"{"id": "7", "reward": 0.5}"#, &[], terms(&[("reward", 0.5)])),
            (r#"{"id": -7, "reward": 0.5}"#, &[], terms(&[("reward", 0.5)])),
            (r#"[{"id": 7, "reward": 0.5}]"#, &[], failed("")),
            (r#"[7, 0.5, null, null]"#, &[], failed("")),
            (r#""id": , "id" 7, {'id': 7}"#, &[], failed("")),
            ("", &[], failed("")),
        ] {
            assert_eq!(interpret(line.as_bytes()), (ids.to_vec(), answer), "{line}");
        }
    }

    #[test]
    fn a_row_is_sent_on_one_line() {
        assert_eq!(wire_line(3, "{}"), "{\"id\":3}\n");
        assert_eq!(wire_line(3, " { \"a\":\n 1}"), "{\"id\":3,\"a\":  1}\n");
    }

    #[test]
    fn a_quote_is_short_and_on_one_line() {
        assert_eq!(quote(b"  a\tb\x1b\xff\n"), "a b \u{fffd}");
        assert_eq!(quote("é".repeat(200).as_bytes()), "é".repeat(200));
        assert_eq!(quote("é".repeat(5000).as_bytes()), "é".repeat(200) + "…");
    }
}
