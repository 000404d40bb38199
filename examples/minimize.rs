//! Minimises a test function with any strategy, through the library's own face:
//! `cargo run --release --example minimize -- --strategy snes --function ellipsoid --n 40 --seeds 11`. Prints
//! `seed evaluations` for each seed, or `seed -` where the cap came before the target, and at the end the median and the
//! quartiles to stderr. `--set antithetic=false` gives a strategy any other key of its table.

use clap::Parser;
use clap::builder::PossibleValuesParser;
use essa::error::{Error, Result};
use essa::seed::Seed;
use essa::strategy::StrategyConfig;
use essa::strategy::functions::{Function, Quartiles, evaluations_to_target};
use rayon::prelude::*;
use serde_json::{Value, json};

#[derive(Parser)]
#[command(about = "How many evaluations a strategy needs to reach a target")]
struct Arguments {
    /// The strategy's kind, as in a run's config
    #[arg(long, default_value = "cma-es")]
    strategy: String,
    #[arg(long, default_value = "sphere", value_parser = PossibleValuesParser::new(Function::NAMES))]
    function: String,
    /// Dimension
    #[arg(long, default_value_t = 10)]
    n: usize,
    /// Seeds 1 to this
    #[arg(long, default_value_t = 11)]
    seeds: u64,
    #[arg(long, default_value_t = 1e-9)]
    target: f64,
    /// The first standard deviation
    #[arg(long, default_value_t = 0.5)]
    sigma: f64,
    /// Every number of the start
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    start: f64,
    /// Evaluations after which a run is given up
    #[arg(long, default_value_t = 1_000_000)]
    cap: usize,
    /// Candidates a generation; the strategy's default without it
    #[arg(long)]
    population: Option<usize>,
    /// Any other key of the strategy's table, as key=value
    #[arg(long)]
    set: Vec<String>,
}

fn main() -> std::process::ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let (n, config) = (arguments.n, config(arguments)?);
    config.resolve(n)?;
    let function = Function::named(&arguments.function, n, Seed::new(0).named("rotation")).expect("one of the names");
    let one = |seed: u64| {
        let mut strategy = config.build(n, &vec![arguments.start; n], Seed::new(seed))?;
        let value = |x: &[f64]| function.value(x);
        Ok(evaluations_to_target(
            strategy.as_mut(),
            value,
            arguments.target,
            arguments.cap,
        ))
    };
    let counts = (1..=arguments.seeds)
        .into_par_iter()
        .map(one)
        .collect::<Result<Vec<_>>>()?;
    for (seed, count) in (1..).zip(&counts) {
        println!(
            "{seed} {}",
            count.map_or("-".to_string(), |count: usize| count.to_string())
        );
    }
    eprintln!("{:?}", Quartiles::of(&counts));
    Ok(())
}

fn config(arguments: &Arguments) -> Result<StrategyConfig> {
    let mut table = json!({ "kind": arguments.strategy, "sigma": arguments.sigma });
    if let Some(population) = arguments.population {
        table["population"] = population.into();
    }
    for assignment in &arguments.set {
        let (key, value) = assignment
            .split_once('=')
            .ok_or_else(|| Error::config(format!("--set {assignment}: expected key=value")))?;
        table[key] = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.into()));
    }
    serde_json::from_value(table).map_err(|error| Error::config(format!("--strategy and --set: {error}")))
}
