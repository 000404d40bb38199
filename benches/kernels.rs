//! The kernels alone: the packed product against libtorch's integer product, quantization, attention over contexts, and
//! the choice of tokens.
//! Rates are in operations or bytes a second, so that they can be held against what the machine can do.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use essa::engine::Sampling;
use essa::model::KvKind;
use essa::model::kernels::{
    Attention, BLOCK, Finish, Form, Input, Int4Group, KvLayer, PackedWeight, RowAddress, Tile, attend_row,
    packed_product,
};
use essa::seed::Seed;
use half::f16;
use rayon::prelude::*;
use std::hint::black_box;
use tch::{Device, Kind, Tensor};

/// `[out, in]` of gate and up, and of down, of SmolLM2-135M.
const SHAPES: [[usize; 2]; 2] = [[1536, 576], [576, 1536]];
const ROWS: [usize; 7] = [1, 8, 16, 64, 128, 512, 1024];

fn packed(shape: [usize; 2], int4: bool) -> PackedWeight {
    let q = |row: usize| (0..shape[1]).map(move |column| ((row * 31 + column * 17) % 255) as i16 - 127);
    let mut weight = if int4 {
        PackedWeight::int4(shape, 32)
    } else {
        PackedWeight::int8(shape, 64)
    };
    for row in 0..shape[0] {
        if int4 {
            let q: Vec<u8> = q(row).map(|q| q.rem_euclid(16) as u8).collect();
            let group = Int4Group {
                scale: f16::ONE,
                min: f16::NEG_ONE,
            };
            weight.set_int4_row(row, &q, &vec![group; shape[1] / 32]);
        } else {
            let q: Vec<i8> = q(row).map(|q| q as i8).collect();
            weight.set_int8_row(row, &q, 0.01);
        }
    }
    weight
}

fn filled(rows: usize, width: usize, group: usize) -> Input {
    let mut input = Input::default();
    fill(&mut input, rows, width, group);
    input
}

fn fill(input: &mut Input, rows: usize, width: usize, group: usize) {
    input.fill([rows, width], Form::Int8 { group }, None, |row, out| {
        out.iter_mut()
            .enumerate()
            .for_each(|(i, x)| *x = ((row * 7 + i * 13) % 101) as f32 - 50.0);
    });
}

fn products(criterion: &mut Criterion) {
    for shape in SHAPES {
        let mut group = criterion.benchmark_group(format!("product {}x{}", shape[0], shape[1]));
        for rows in ROWS {
            group.throughput(Throughput::Elements((2 * rows * shape[0] * shape[1]) as u64));
            for int4 in [false, true] {
                let weight = packed(shape, int4);
                let input = filled(rows, shape[1], weight.group());
                let mut out = vec![0.0; rows * shape[0]];
                let finish = Finish {
                    bias: None,
                    side: None,
                    add: false,
                };
                let name = if int4 { "int4" } else { "int8" };
                group.bench_function(BenchmarkId::new(name, rows), |bencher| {
                    bencher.iter(|| packed_product(&weight, black_box(&input), finish, &mut out));
                });
            }
            let of = |rows: usize, seed: i64| {
                let numbers = Tensor::arange((rows * shape[1]) as i64, (Kind::Int64, Device::Cpu)) * seed;
                (numbers.remainder(255) - 127)
                    .to_kind(Kind::Int8)
                    .view([rows as i64, -1])
            };
            let (x, weight) = (of(rows, 13), of(shape[0], 17).tr());
            group.bench_function(BenchmarkId::new("libtorch _int_mm", rows), |bencher| {
                bencher.iter(|| black_box(&x).f_internal_int_mm(&weight).expect("a product"));
            });
        }
        group.finish();
    }
}

/// The same product by each tile that this processor has.
fn tiles(criterion: &mut Criterion) {
    let shape = SHAPES[0];
    let mut group = criterion.benchmark_group("tile");
    for rows in [1, 8, 128] {
        group.throughput(Throughput::Elements((2 * rows * shape[0] * shape[1]) as u64));
        for int4 in [false, true] {
            for tile in Tile::ALL.into_iter().filter(|tile| tile.is_here()) {
                let weight = packed(shape, int4).by(tile);
                let input = filled(rows, shape[1], weight.group());
                let mut out = vec![0.0; rows * shape[0]];
                let finish = Finish {
                    bias: None,
                    side: None,
                    add: false,
                };
                let name = format!("{tile:?} {}", if int4 { "int4" } else { "int8" });
                group.bench_function(BenchmarkId::new(name, rows), |bencher| {
                    bencher.iter(|| packed_product(&weight, black_box(&input), finish, &mut out));
                });
            }
        }
    }
    group.finish();
}

fn quantization(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("quantize 576");
    for rows in [16, 128, 512] {
        group.throughput(Throughput::Bytes((4 * rows * 576) as u64));
        let mut input = Input::default();
        group.bench_function(BenchmarkId::from_parameter(rows), |bencher| {
            bencher.iter(|| fill(&mut input, rows, 576, 64));
        });
    }
    group.finish();
}

/// 9 query heads on 3 key heads of 64, 32 rows of different sequences.
fn attention(criterion: &mut Criterion) {
    let (heads, kv_heads, head_dim, rows) = (9, 3, 64, 32_usize);
    let attention = Attention {
        scale: 0.125,
        cap: None,
        window: None,
    };
    let mut group = criterion.benchmark_group("attention");
    for (kind, name) in [(KvKind::F32, "f32"), (KvKind::Bf16, "bf16"), (KvKind::Int8, "int8")] {
        for context in [64, 256, 1024, 2048] {
            let of_row = context / BLOCK;
            let cache = KvLayer::new(kind, rows * of_row, kv_heads, head_dim);
            let blocks: Vec<u32> = (0..(rows * of_row) as u32).collect();
            let query = vec![0.5; heads * head_dim];
            let mut out = vec![0.0; heads * head_dim];
            group.throughput(Throughput::Bytes(
                (rows * context * kv_heads * 2 * kind.bytes(head_dim)) as u64,
            ));
            group.bench_function(BenchmarkId::new(name, context), |bencher| {
                bencher.iter(|| {
                    for row in 0..rows {
                        let address = RowAddress {
                            blocks: &blocks[row * of_row..][..of_row],
                            position: context - 1,
                        };
                        attend_row(&query, &cache, address, attention, &mut out);
                    }
                });
            });
        }
    }
    group.finish();
}

/// 128 rows of SmolLM2's vocabulary, all rows at once as the engine has them. A spread of 6 puts nine tenths of the
/// probability on tens of tokens, as text does; a spread of 1 on thousands.
fn sampling(criterion: &mut Criterion) {
    let (rows, vocab) = (128, 49_152);
    let all = Sampling {
        temperature: 1.0,
        ..Default::default()
    };
    let mut group = criterion.benchmark_group("sampling");
    group.throughput(Throughput::Elements(rows as u64));
    for spread in [6.0, 1.0] {
        let row = |row: usize| Seed::new(3).fold(row as u64).normals(vocab);
        let logits: Vec<f32> = (0..rows).flat_map(row).map(|z| (spread * z) as f32).collect();
        for (name, sampling) in [
            ("temperature", all),
            ("top_k 50", Sampling { top_k: 50, ..all }),
            ("top_p 0.9", Sampling { top_p: 0.9, ..all }),
        ] {
            group.bench_function(BenchmarkId::new(name, spread), |bencher| {
                bencher.iter(|| {
                    let rows = black_box(&logits).par_chunks_exact(vocab).enumerate();
                    let tokens = rows.map(|(row, logits)| sampling.choose(logits, row as f64 / 128.0));
                    tokens.sum::<usize>()
                });
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(15).warm_up_time(std::time::Duration::from_millis(300)).measurement_time(std::time::Duration::from_secs(1));
    targets = products, tiles, quantization, attention, sampling
}
criterion_main!(benches);
