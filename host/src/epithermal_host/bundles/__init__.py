"""Pack a trained model into a bundle that a station can verify, and run bundles over series.

In: a run's quantized model and reports; a signing key. Out: a folder with bundle.toml,
model.tflite, golden.csv, CARD.md and signatures; the estimates of a bundle over many series.
Open `release` first, then `streams`.
"""
