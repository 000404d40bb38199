//! A strategy of your own, outside of the crate, run by the library's ask and tell: `cargo run --release --example
//! own_strategy`. It is the (1 + 1) evolution strategy with the one-fifth rule (N. Hansen, D. Arnold, A. Auger, *Evolution
//! Strategies*, Handbook of Computational Intelligence, 2015, algorithm 2): one challenger is drawn around the incumbent and
//! takes its place if it is better, and σ stays where one challenger in five is. For a run to select it by name, the file
//! goes into `src/strategy`, with a line in the table of its `mod.rs`.

use essa::error::Result;
use essa::linalg::{axpy, norm};
use essa::search::Fitness;
use essa::seed::Seed;
use essa::strategy::functions::{evaluations_to_target, judge, sphere};
use essa::strategy::{Algorithm, AskTell, Search, Strategy};
use serde::{Deserialize, Serialize};

/// The settings that other algorithms do not have: in a config they would stand in the `[strategy]` table.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Settings {
    /// d, generations in which a challenger that always wins multiplies σ by e^0.8.
    damping: f64,
}

/// The numbers that it keeps beside the mean, which is the incumbent, and σ.
#[derive(Serialize, Deserialize)]
struct OneFifth {
    wins: u64,
}

impl Algorithm for OneFifth {
    type Settings = Settings;

    /// The incumbent has no mirror image.
    const PAIRS: bool = false;

    fn weighs_the_worse_half(_: &Settings) -> bool {
        false
    }

    fn start(_: &mut Search<Settings>) -> Self {
        Self { wins: 0 }
    }

    /// Member 0 is the incumbent: it is judged again, because each generation may have questions of its own.
    fn draw(&self, search: &Search<Settings>, member: usize) -> Vec<f64> {
        let mut x = search.mean.clone();
        if member > 0 {
            axpy(search.sigma, &search.noise().normals(member, search.dim()), &mut x);
        }
        x
    }

    fn learn(&mut self, search: &mut Search<Settings>, fitness: &[Fitness]) -> f64 {
        let (won, sigma) = (fitness[1].value() > fitness[0].value(), search.sigma);
        search.sigma *= ((f64::from(u8::from(won)) - 0.2) / search.settings.damping).exp();
        if !won {
            return 0.0;
        }
        self.wins += 1;
        let z = search.noise().normals(1, search.dim());
        axpy(sigma, &z, &mut search.mean);
        sigma * norm(&z)
    }
}

fn main() -> Result<()> {
    let damping = 11_f64.sqrt(); // √(n + 1)
    let search = || Search::new(Settings { damping }, &[1.0; 10], 0.5, 2, false, Seed::new(1));
    let mut strategy = AskTell::<OneFifth>::new("one-fifth", search());
    for generation in 1..=500 {
        let step = strategy.tell(&judge(&strategy, sphere));
        if generation % 100 == 0 {
            let value = sphere(strategy.mean());
            println!("generation {generation}: f {value:.1e}, sigma {:.1e}", step.sigma);
        }
    }
    // It is saved and goes on as any other.
    let state = strategy.state();
    let mut again = AskTell::<OneFifth>::restore("one-fifth", search(), &state)?;
    let more = evaluations_to_target(&mut again, sphere, 1e-12, 10_000).expect("a sphere is easy");
    println!("{more} evaluations more to 1e-12");
    Ok(())
}
