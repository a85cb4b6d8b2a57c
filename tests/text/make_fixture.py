"""Train the tokenizer of these tests and write the ids that Python's `tokenizers` gives.

Run in this folder, with the package tokenizers installed: python3 make_fixture.py
"""

import json

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

CORPUS = [
    "The Eiffel Tower is in the city of Paris.",
    "The Colosseum is in the city of Rome, and the Louvre is in Paris.",
    "Madison Square Garden is located in the city of New York.",
    "It's the river that they're crossing; we've seen 1234 boats there.",
    "Zürich, São Paulo, København and 東京 are cities too.",
] * 8

TEXTS = [
    "",
    " ",
    "The Eiffel Tower is in the city of",
    " Paris",
    "  two  spaces\n\nand lines\t",
    "it's they're WE'VE 1234567",
    "Zürich 東京 naïve 😀 e\u0301",
    "a\u0000b",
    "<|endoftext|>",
    "Rome<|endoftext|>New York",
    "[MARK]inside [MARK] words",
    "\ufeffbyte order mark",
    "the the the " * 20,
]


def make_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_tokens([AddedToken("[MARK]", lstrip=True, normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A",
        special_tokens=[("<|endoftext|>", tokenizer.token_to_id("<|endoftext|>"))],
    )
    # Saved in the file and to be ignored by whoever loads it for a model.
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=64)
    return tokenizer


def main() -> None:
    tokenizer = make_tokenizer()
    tokenizer.save("tokenizer.json", pretty=False)
    tokenizer.no_truncation()
    tokenizer.no_padding()

    cases = []
    for text in TEXTS:
        with_special = tokenizer.encode(text).ids
        cases.append(
            {
                "text": text,
                "ids": tokenizer.encode(text, add_special_tokens=False).ids,
                "ids_with_special": with_special,
                "decoded": tokenizer.decode(with_special, skip_special_tokens=False),
                "decoded_without_special": tokenizer.decode(with_special, skip_special_tokens=True),
            }
        )
    # A token that is half of a character.
    half = tokenizer.encode("東", add_special_tokens=False).ids[:1]
    golden = {
        "vocab_size": tokenizer.get_vocab_size(),
        "endoftext": tokenizer.token_to_id("<|endoftext|>"),
        "the": tokenizer.token_to_id("Ġthe"),
        "half_character": {"ids": half, "decoded": tokenizer.decode(half)},
        "cases": cases,
    }
    with open("golden.json", "w", encoding="utf-8") as file:
        json.dump(golden, file, ensure_ascii=True, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
