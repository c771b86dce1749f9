"""What the model really reads: chat template and tokenizer over a request. Pure; files are handed in."""
