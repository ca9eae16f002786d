"""Pack a trained model so that a station can verify it, and run such a bundle.

In: a run's quantized model and reports; keys of a signer. Out: a folder with bundle.toml,
model.tflite, golden.csv, CARD.md and signatures; the answers of a bundle over many series.
Open `release` first, then `streams`.
"""
