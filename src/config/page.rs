//! The reference page of all keys, `docs/configuration.md`.

use crate::judge::kinds::JUDGES;

/// One knob of the reference page.
pub struct Knob {
    /// The key, with its table.
    pub key: &'static str,
    /// Type and unit.
    pub kind: &'static str,
    /// Default, as TOML; a dash where it must be given or is computed.
    pub default: &'static str,
    /// What is accepted.
    pub range: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

macro_rules! knobs {
    ($($key:literal, $kind:literal, $default:literal, $range:literal, $meaning:literal;)*) => {
        &[$(Knob { key: $key, kind: $kind, default: $default, range: $range, meaning: $meaning }),*]
    };
}

/// Every knob, in the order of the reference page.
pub const KNOBS: &[Knob] = knobs! {
    "name", "string", "\"run\"", "a folder's name", "Names the run, and its directory under `runs/` unless `--out` is given.";
    "seed", "integer", "1", "≥ 0", "The root of all random numbers of the run.";
    "model.path", "path", "–", "a `.gguf` file or a Hugging Face folder", "The base model, of a family in docs/models.md.";
    "model.precision", "string", "\"int8\"", "`f32`, `bf16`, `int8`, `int4`", "What the base model's matrix products are computed in. In int8 and int4 a text does not depend on its neighbours in the batch. int4 takes a GGUF's 4-bit blocks as they are, and keeps the head in int8.";
    "model.device", "string", "\"cpu\"", "`cpu`, `cuda:N`, `cuda`", "Where the model runs; `cuda` is one GPU a rank. On a GPU int8 and int4 are libtorch's products, and the cache cannot be int8.";
    "model.group_size", "integer", "64", "32, 64, 128", "int4: how many weights share a scale, where the file has not decided that already.";
    "model.kv_cache", "string", "as the precision", "`f32`, `bf16`, `int8`", "What keys and values are kept in: without it f32 beside f32, and bf16 otherwise. int8 has a scale for each token and head.";
    "model.adapter", "path or table", "–", "a PEFT LoRA directory, or `{ warm_start = \"CONFIG\" }`", "The supervised adapter that `lora-svd` searches. With a warm start the run first trains it as `essa warm-start CONFIG` does, in `warm-starts/` beside the run's directory, where runs that ask for the same one share it; where CONFIG names no model, or neither `data.train` nor a task, it takes those of the run.";
    "model.cache_gib", "GiB", "2.0", "> 0", "What the key-value cache may take; batches are as large as it allows.";
    "model.threads", "integer", "0", "0 … 4096", "Threads of a process; 0 takes SLURM_CPUS_PER_TASK, OMP_NUM_THREADS, or the cores that it may run on divided by the ranks that share them.";
    "space.kind", "string", "\"spectral\"", "`spectral`, `core`, `lora-svd`, `lora-core`, `frozen`, `mix`, `decoding`", "`spectral` moves singular values of the base weights and needs no supervised start, `core` the whole matrix between its singular vectors (LoRA-XS); `lora-svd` is the paper's space, the singular values of a supervised LoRA's factors (arXiv 2507.04453), `lora-core` the matrix between them; `frozen` keeps the adapter as it is, beside others; `mix` searches the weights of a sum of adapters, which begins at their average; `decoding` searches temperature and top_p, and leaves them as `generation_config.json` beside the adapter.";
    "space.also", "list of tables", "[]", "each like `[space]`", "More spaces on the same model, searched together; the adapter that leaves is one of the summed rank.";
    "space.layers", "two integers", "all", "[first, end)", "Which layers are searched.";
    "space.budget", "integer", "–", "≥ 1", "At most so many numbers are searched: each slot of the search vector is moved by itself before the run, and those of which a number leads furthest away from the start, in nats a response, are chosen. `sensitivity.csv` keeps what was found, `space.only` what was chosen.";
    "space.units", "string", "\"raw\"", "`raw`, `kl`", "What a step of θ means. `raw` is what the space says: a share of a singular value, a number of a core. With `kl` each slot is moved by itself before the run, its gain is set by what that costs, and candidates at σ = 1 are one nat a response away from the start in every space; `strategy.sigma` is then 1 if it is not set.";
    "space.gains", "table", "–", "a slot's name and a number above 0", "By what each slot's own gain is multiplied: what `space.units = \"kl\"` found, so that a run that goes on has the same units.";
    "space.only", "list", "all", "beginnings of names, up to a dot, such as `model.layers.3.self_attn`", "Which slots of the search vector are searched; what an adapter does in the others stays. With `space.also` the names of the first space begin with `0.`, of the second with `1.` and so on, and those of a mix with `adapter0.`; a name without that means all of them.";
    "space.subspace", "integer", "–", "≥ 1", "Searches θ = P z, z of so many numbers, with a random P of the run's seed, instead of all of θ.";
    "space.part", "string", "\"principal\"", "`principal`, `minor`", "spectral: the largest or the smallest components.";
    "space.rank", "integer", "8", "1 … smaller side of a matrix", "spectral, core: components a matrix; n = layers × modules × rank, or × rank².";
    "space.alpha", "share", "1.0", "0 < α ≤ 1", "lora-svd: the top ⌊α·r⌋ singular values of both factors are searched.";
    "space.offsets", "string", "\"relative\"", "`relative`, `absolute`", "lora-svd: σ (1 + θ), or σ + θ as in the paper.";
    "space.adapters", "list of paths", "–", "PEFT LoRA directories", "mix: the adapters, relative to the file as all paths are.";
    "space.per", "string", "\"module\"", "`module`, `adapter`", "mix: a weight for each matrix of each adapter, or one for each adapter.";
    "space.settings", "list", "both", "`temperature`, `top_p`", "decoding: which settings of `[generation]` are searched; they begin at their values there.";
    "space.modules", "list", "q, k, v, o", "`q_proj`, `k_proj`, `v_proj`, `o_proj`, `gate_proj`, `up_proj`, `down_proj`", "Which matrices of every layer are searched.";
    "strategy.kind", "string", "\"auto\"", "`auto`, `cma-es`, `sep-cma-es`, `lm-ma-es`, `open-es`, `xnes`, `snes`, `cem`, `random-search`", "`auto` is `cma-es` where the run is long enough to learn a full covariance matrix (generations · (c_1 + c_μ) ≥ 1: with 20 candidates n ≤ 12 in 20 generations, n ≤ 23 in 60) and n at most 2048, and otherwise `sep-cma-es`. Full CMA-ES with step-size control (n ≤ 8192); the same with a diagonal covariance, linear in n; LM-MA-ES, a few learnt directions, for n in the tens of thousands; OpenAI-ES; the natural evolution strategies, xNES with a full covariance (n ≤ 4096; slow from n ≈ 100 on) and SNES with a σ for each number; and as baselines the cross-entropy method and random search.";
    "strategy.population", "integer", "4 + ⌊3 ln n⌋", "2 … 1048576, even when antithetic", "λ, candidates a generation.";
    "strategy.sigma", "number", "0.1", "> 0", "σ0, the standard deviation of each number of the first candidates.";
    "strategy.max_step", "number", "–", "> 0", "A trust region: the mean moves no further in a generation, as `step_norm` measures it.";
    "strategy.max_kl", "nats", "–", "> 0", "The furthest that the mean may be from the start, in nats a response: after each generation its divergence is measured on 32 texts of the start, and a mean beyond it goes back towards where it came from until it is within. The column `kl_from_start` of metrics.csv has it.";
    "strategy.restarts", "integer", "0", "as often as the population can double up to 1048576", "How often a strategy that asks to stop begins again from the start, with twice the population (IPOP) and, in turn, with a larger and a smaller σ0: 2 σ0, σ0 / 2, 4 σ0, σ0 / 4, …";
    "strategy.antithetic", "boolean", "true", "", "Candidates come in pairs, mirrored at the mean (not in random-search).";
    "strategy.active", "boolean", "false", "", "cma-es, sep-cma-es: the worse half pushes the covariance away (negative weights).";
    "strategy.sigma_decay", "factor", "1.0", "0 < d ≤ 1", "open-es: what σ is multiplied by each generation.";
    "strategy.learning_rate", "number", "from λ and n; open-es: from σ", "> 0", "cma-es, sep-cma-es, lm-ma-es, xnes, snes, cem, open-es: how far the mean goes. c_m of CMA-ES and η of the natural strategies: 1 is all the way to the weighted mean of the better candidates, ½ half of it, 2 twice as far; σ does not notice. The default is 1 up to the default population λ₀ and 1 + (λ/λ₀ − 1)(1 − λ/n), at most 3, beyond it: more candidates tell the direction better, and so bear a longer step. Of open-es it is the length of a step, 0.4 σ with Adam.";
    "strategy.optimizer", "string", "\"adam\"", "`adam`, `momentum`", "open-es: what turns gradient estimates into steps.";
    "strategy.momentum", "share", "0.9", "0 ≤ β < 1", "open-es: how much of the running mean of gradients is kept.";
    "strategy.beta2", "share", "0.999", "0 ≤ β < 1", "open-es: the same for squared gradients (Adam).";
    "strategy.shaping", "string", "\"centred-ranks\"", "`centred-ranks`, `z-score`, `utilities`", "open-es: how fitness becomes weights; `utilities` are those of natural evolution strategies.";
    "strategy.weight_decay", "share", "0.0", "0 ≤ w < 1", "open-es: the part of the mean that a generation takes away.";
    "strategy.elite", "share", "0.3", "0 < ρ < 1", "cem: the share of the candidates to which the Gaussian is fitted.";
    "strategy.smoothing", "share", "0.1", "0 < α ≤ 1", "cem: how much of σ a generation replaces.";
    "strategy.extra_noise", "number", "0.05 σ0", "≥ 0", "cem: the standard deviation that each generation adds to every σ, as variances add.";
    "task.kind", "string", "\"instructions\"", "`instructions`, `jsonl`, `gsm8k`, `math`, `ifeval`, `choice`, `countdown`, `preference`", "The built-in task; rows of JSON-lines files of any columns; or a benchmark with its own prompt and judge, read from files as they are published (`src/task/<kind>.rs` opens with a row of each). Keys of \"rows\" below are those of all kinds that read files.";
    "task.kinds", "list", "all twelve", "see `src/task/instructions.rs`", "instructions: the kinds of instruction, which take turns.";
    "task.topics", "list", "anything", "see `src/task/instructions/questions.rs`", "instructions: what the questions are about.";
    "task.train_size", "examples", "512", "1 … 1048576", "instructions, countdown: examples to make that judge candidates.";
    "task.validation_size", "examples", "128; rows 256", "≥ 1; rows: or a share between 0 and 1", "Examples that judge the mean; rows: carved off train where there is no file, by a hash of the prompt, and taken out of the file where there is one. A share stands when rows are added.";
    "task.test_size", "examples", "256", "≥ 1; rows: or a share between 0 and 1", "Examples that judge the result; rows: as for validation.";
    "task.content_weight", "share", "0.5", "0 … 1", "instructions: the part of the reward that right content earns.";
    "task.partial_credit", "share", "0.0", "0 … 1", "instructions: what coming near an instruction earns.";
    "task.numbers", "two integers", "[3, 4]", "3 … 6", "countdown: the fewest and the most numbers of a puzzle.";
    "task.largest", "integer", "99", "5 … 1000000", "countdown: the largest number.";
    "task.train", "path", "–", "JSON lines", "rows: those that judge candidates; countdown makes puzzles without.";
    "task.validation", "path", "–", "JSON lines", "rows: those that judge the mean.";
    "task.test", "path", "–", "JSON lines", "rows: those that judge the result.";
    "task.prompt", "template", "that of the kind", "`{column}`, `{options}`, `{{` and `}}` for braces", "rows: the user's turn.";
    "task.messages", "column", "–", "", "rows: the column with a conversation, `[{\"role\": …, \"content\": …}, …]`, instead of a prompt. A last turn of the assistant is the gold answer.";
    "task.system", "string", "the chat template's", "", "The system's turn.";
    "task.shots", "integer", "0", "≥ 0", "rows: answered examples before each prompt, as turns, taken from train.";
    "task.shot", "template", "the answer", "like a prompt", "rows: the assistant's turn of these.";
    "task.answer", "column, or `{ column = …, regex = … }`", "the judge knows", "", "rows: the column with the gold answer, or group 1 of the last match in it, such as `{ column = \"answer\", regex = '#### (.+)' }`.";
    "task.answer_map", "table", "–", "", "rows: what each value of the answer column means, such as `{ 1 = \"positive\" }`.";
    "task.options", "column", "choice: `choices`", "", "rows: the column with the possible answers, a list of texts or `{\"text\": […], \"label\": […]}`; the answer is then a label, a letter, an index from 0 or a text.";
    "task.judge", "judge", "that of the kind", "see below", "rows: what a response is worth.";
    "task.train_judge", "judge", "task.judge", "see below", "rows: what a candidate is worth while the search goes on: a judge that is cheaper or tells degrees, such as `{ likelihood = \"log_probability\" }`. Validation and test stay with `judge`.";
    "task.case_sensitive", "boolean", "false", "", "rows: whether letters of other case are other letters.";
    "task.subset", "table", "all", "`size`, `least`, `most`, `near`", "rows: which rows of train are used: prompts of `least` to `most` characters, and of these `size`, the nearest to the rows of the file `near` by compression distance (ZIP-FIT) where that is set.";
    "task.deduplicate", "boolean", "false", "", "rows: whether of rows of train with the same prompt only the first is used.";
    "reward.weights", "table", "the judge's own reward, and each further term once", "numbers by term", "What each term weighs in the reward; `reward` is the judge's own. What weighs nothing is still in the log.";
    "reward.failed", "number", "0.0", "", "What a response earns that could not be judged.";
    "reward.of_samples", "string", "\"mean\"", "`mean`, `best`, `pass@k`", "What the texts of a prompt earn together where `run.samples` is above 1; pass@k is unbiased, and a text passes that earns 1.";
    "reward.selection", "string", "\"weighted\"", "`weighted`, `lexicographic`, `pareto`", "How candidates are compared: by the reward, by the terms of `order` one after the other, or by non-dominated sorting of these (beside all earlier candidates where `run.prompts` is the whole training split, and of a generation alone otherwise, because terms of other prompts cannot be compared). Pareto leaves `front.csv` and an adapter for each of its points in `front/`. The mean is chosen by the reward in any case.";
    "reward.order", "list", "[]", "names of terms", "Terms that are compared, the most important first.";
    "reward.terms", "table", "{}", "judges by name", "Further terms of a response, such as `brief = { length = 200 }`.";
    "generation.max_new_tokens", "tokens", "32", "≥ 1", "Token budget of a text.";
    "generation.temperature", "number", "0.0", "≥ 0", "0 takes the likeliest token.";
    "generation.top_p", "share", "1.0", "0 < p ≤ 1", "Keeps the likeliest tokens that hold this probability.";
    "generation.top_k", "tokens", "0", "≥ 0", "Keeps this many likeliest tokens; 0 keeps all.";
    "run.rollouts_total", "integer", "–", "≥ 80 · run.samples", "Texts that the candidates may write in all. It chooses strategy.population, run.prompts and run.generations: 80 × 5 × 8 at 3,200, and candidates and generations grow with the root of it.";
    "run.generations", "integer", "20", "≥ 1", "Generations.";
    "run.prompts", "examples", "24", "1 … training examples", "Prompts a generation, the same for every candidate.";
    "run.samples", "texts", "1", "≥ 1", "Texts to each prompt, each sampled with randomness of its own; above 1 only with a temperature.";
    "run.validate_every", "generations", "5", "≥ 0", "How often the mean is scored on the validation split; 0 at the start and the end only.";
    "run.prompts_max", "examples", "run.prompts", "run.prompts … training examples", "What run.prompts may grow to, doubling while the signal-to-noise of three generations is below ½.";
    "run.calibrate_sigma", "boolean", "false", "", "Whether σ0 is found before the run: the step that leads candidates one nat a response away from the start, by the KL divergence on texts of the start, from strategy.sigma as a first guess. What was tried is kept in calibration.csv.";
    "run.racing", "boolean", "false", "", "Whether candidates that are behind after a quarter and after half of the prompts drop out; those that stay are scored on all prompts. Only with strategies to which the worse half is all alike: not open-es but with `utilities`, nor `active`, nor an `elite` above 0.5. `rollouts` in metrics.csv says what was saved.";
    "run.stop_on_collapse", "boolean", "true", "", "Whether a run ends when its mean is clearly worse than the best one (beyond three standard errors of the paired difference) at two validations in a row. The best mean is kept in any case.";
    "run.rollouts", "boolean", "true", "", "Whether judged texts are kept in rollouts.jsonl.";
    "drift.texts", "texts", "0", "≥ 0, at most the examples of validation and of test", "On how many texts of the reference the mean's KL divergence from it is measured at each look (validation prompts) and at the end (test prompts): `log p_ref − log p` of a text, sampled from the reference at temperature 1, in nats a response of at most `generation.max_new_tokens` tokens. Columns `kl` and `kl_se`.";
    "drift.reference", "string or list of paths", "\"start\"", "`start`, `base`, or PEFT LoRA directories", "Whose texts: where the search begins (with its adapter), the base model, or the average of several adapters (SALSA, arXiv 2411.01798).";
    "drift.max_kl", "nats a response", "–", "> 0", "The run stops when the mean is further away than this, and the best mean that was not is kept.";
    "drift.penalty", "reward a nat", "0.0", "≥ 0", "What a candidate's reward loses for each nat of its divergence, measured on the first `drift.texts` prompts of the generation. Costs one scored text a candidate and prompt. Column `terms/kl`.";
    "drift.max_length", "factor", "–", "> 1", "The run stops when the mean's responses are more than so many times as long as the start's on validation.";
    "drift.tasks", "tables", "–", "`[drift.tasks.NAME]`, each like `[task]`", "Tasks that are only watched, by the mean's judge: validation at each look, test at the end. Columns `off_task/NAME`.";
    "drift.max_fall", "score", "–", "≥ 0", "The run stops when the mean's score on one of them is more than this below the start's.";
};

/// The reference page, from [`KNOBS`].
pub fn reference_page() -> String {
    let mut page = String::from(
        "# Configuration\n\nMade from `src/config/page.rs`; a test holds it against the code. A run is one TOML file; `essa align CONFIG --set key=value`\n\
         overrides a key. Relative paths are relative to the file. Unknown keys are refused. `config.toml` in a run's directory\n\
         is the resolved copy, every default written out.\n\n| key | type | default | accepted | meaning |\n| --- | --- | --- | --- | --- |\n",
    );
    for knob in KNOBS {
        page += &format!(
            "| `{}` | {} | {} | {} | {} |\n",
            knob.key, knob.kind, knob.default, knob.range, knob.meaning
        );
    }
    page += "\n## Judges\n\nA judge is a name, or a table in which its name is a key: `judge = \"number\"`, `judge = { regex = 'is (\\d+)' }`. docs/judging.md has more.\n\n\
             | judge | settings | terms, the first is the reward | meaning |\n| --- | --- | --- | --- |\n";
    for judge in JUDGES {
        let settings = if judge.settings.is_empty() {
            String::new()
        } else {
            format!("`{{ {} }}`", judge.settings)
        };
        let terms: Vec<String> = judge.terms.iter().map(|term| format!("`{term}`")).collect();
        let terms = if terms.is_empty() {
            "its own".into()
        } else {
            terms.join(", ")
        };
        page += &format!("| `{}` | {settings} | {terms} | {} |\n", judge.name, judge.meaning);
    }
    page
}
