"""Make small tokenizers of each style, and what transformers makes of text and chats with them.

Run in this folder, with transformers 5.24 installed: python3 make_tokenizers.py

Writes models/NAME/ (what a model's folder holds for text), tokens.json (ids and texts), and
chats.json (rendered chats, their ids, and single expressions). The templates of chats are those in
templates/, written for these tests in the styles of the models that they are called after.
"""

import json
from pathlib import Path

from jinja2.exceptions import TemplateError
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoTokenizer
from transformers.utils.chat_template_utils import render_jinja_template

HERE = Path(__file__).parent
MODELS = HERE / "models"
TEMPLATES = HERE / "templates"

CORPUS = [
    "The Eiffel Tower is in the city of Paris.",
    "The Colosseum is in the city of Rome, and the Louvre is in Paris.",
    "It's the river that they're crossing; we've seen 1234 boats there.",
    "Zürich, São Paulo, København and 東京 are cities too.",
    "user assistant system: what is the tallest tower of the city?",
    "I don't know, but I'd say that it isn't far from the river.",
] * 8

TEXTS = [
    "",
    " ",
    "   ",
    "a",
    "The Eiffel Tower is in the city of",
    " Paris",
    "Paris ",
    "  two  spaces  ",
    "\ttab\tand\nlines\n\nmore\r\nend\n",
    "it's they're WE'VE I'd don't n't",
    "1234567 3.14 1,000,000 ½ ² Ⅷ",
    "Zürich 東京 naïve København",
    "e\u0301 versus \u00e9 and \ufb01 and \u212b",
    "😀 👩\u200d👩\u200d👧\u200d👦 🇫🇷 👍🏽",
    "\U0001f9ff\U00020000\U0010ffff",
    "العربية עברית हिन्दी ไทย 한국어",
    "a\u0000b\u0001c\u007f",
    "\ufeffbyte order mark",
    "no\u00a0break \u2003em \u3000ideographic \u200bzero",
    "\u2028line\u2029paragraph\u0085next",
    "x\u0338\u0301\u0302 combining",
    "snake_case CamelCase kebab-case path/to/file.txt",
    "https://example.org/a?b=c&d=e#f",
    "def f(x):\n    return x ** 2  # square",
    '{"key": ["value", null, 1e-5]}',
    "!!! ??? ... -- --- “quotes” «guillemets»",
    "▁underscores▁ ▁ of sentencepiece",
    "<0x41> <0x0A> written out",
    "Ġthe Ċ byte level letters",
    "##ing ## pieces",
    "<s>",
    "</s> after",
    "before <s> between</s> after",
    "<s><s></s></s>",
    "<|endoftext|>Rome<|endoftext|> York",
    "<|im_start|>user\nHi<|im_end|>\n",
    "<|begin_of_text|>text<|eot_id|>",
    "<bos><start_of_turn>user\nHi<end_of_turn>",
    "[CLS] the [MASK] city [SEP] [PAD][UNK]",
    "<pad><unk><mask> <extra_id_0>",
    "[INST] Hi [/INST] Hello",
    "THE the The tHe",
    " the the",
    "qqqqzzzzxxxxjjjjkkkk",
]
# Texts too long to be written out: what is repeated, and how often.
LONG = [["the city of Paris ", 120], ["東京", 150], ["a", 400], [" ", 300]]

CHATS = {
    "one": [{"role": "user", "content": "What is the tallest tower?"}],
    "answered": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello, what is it?"},
    ],
    "three": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Where is\nParis?"},
    ],
    "system": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Where is Rome?"},
    ],
    "system_three": [
        {"role": "system", "content": "  Be brief.\n"},
        {"role": "user", "content": "  Hi  "},
        {"role": "assistant", "content": " Hello \n"},
        {"role": "user", "content": "\nWhere is Rome?\n"},
    ],
    "two_users": [
        {"role": "user", "content": "a"},
        {"role": "user", "content": "b"},
    ],
    "assistant_first": [
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Hi"},
    ],
    "unknown_role": [{"role": "critic", "content": "Well"}],
    "empty": [{"role": "user", "content": ""}],
    "unicode": [
        {"role": "user", "content": "東京 😀 e\u0301 \u00a0 \u2028 <s> </s> <|im_end|>"},
        {"role": "assistant", "content": "{{ 1 + 1 }} {% if %} \\n \" ' <b>&amp;</b>"},
        {"role": "user", "content": "and?"},
    ],
    "thinking": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "<think>\nshort\n</think>\n\nHello"},
        {"role": "user", "content": "And?"},
        {"role": "assistant", "content": "<think>\nlonger\n</think>\n\nYes"},
    ],
}
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}

# What templates do with Python's and Jinja's means; each is rendered with the chat `system_three`.
EXPRESSIONS = [
    "{{ messages[0].role }}|{{ messages[-1]['content'] }}|{{ messages|length }}",
    "{{ messages[1:]|length }}{{ messages[::-1][0].role }}{{ messages[:-1][-1].role }}",
    "{{ messages[0]['content'].strip() }}|{{ messages[1].content|trim }}|{{ ' a '.lstrip() }}|",
    "{{ '\x1c a\u3000'.strip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'abc'.rstrip('cb') }}",
    "{{ 'a-b-c'.split('-') }}{{ ' a  b '.split() }}{{ 'a-b-c'.split('-', 1) }}",
    "{{ 'a-b-c'.rsplit('-', 1) }}{{ 'a b c'.rsplit(None, 1) }}{{ 'a,b'.split(sep=',') }}",
    "{{ 'a</think>b</think>c'.split('</think>')[-1] }}{{ 'a\\nb\\r\\nc'.splitlines() }}",
    "{{ 'one two'.title() }}{{ 'oNE'.capitalize() }}{{ 'a'.upper() }}{{ 'B'.lower() }}",
    "{{ 'abc'.startswith('ab') }}{{ 'abc'.endswith(('x', 'c')) }}{{ 'abc'.find('c') }}",
    "{{ 'a.b'.replace('.', '--') }}{{ 'aaa'.replace('a', 'b', 1) }}{{ 'abc'.removeprefix('a') }}",
    "{{ 'a=b=c'.partition('=')[2] }}{{ 'a=b=c'.rpartition('=')[0] }}{{ '-'.join(['a', 'b']) }}",
    "{{ true }} {{ false }} {{ none }} {{ 1 }} {{ 1.0 }} {{ 2.5 }} {{ 10 / 4 }} {{ 7 // 2 }}",
    "{{ [1, 'a', none, true] }} {{ {'a': 1, 'b': [2]} }} {{ (1, 2) }} {{ \"it's\" }}",
    "{{ ['it\\'s', 'say \"x\"', 'tab\\t', '東'] }}",
    "{{ 'x' ~ true ~ none ~ 1 }} {{ 'a' * 3 }} {{ 'a' 'b' }} {{ 5 % 3 }} {{ 2 ** 5 }} {{ -3 // 2 }}",
    "{{ nothing }}|{{ nothing is defined }}|{{ tools is none }}|{{ documents is defined }}|",
    "{{ nothing.x }}",
    "{{ messages[0].nothing }}|{{ messages[0].nothing is defined }}|{{ messages[9] is defined }}",
    "{{ messages[0].get('role') }}{{ messages[0].get('no', 'other') }}{{ messages[0].get('no') }}",
    "{% for key, value in messages[0].items() %}{{ key }}={{ value|trim }};{% endfor %}",
    "{% for m in messages if m.role == 'user' %}{{ loop.index0 }}{{ loop.last }}{% endfor %}",
    "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.role }}"
    "{% if loop.index == 3 %}{% break %}{% endif %}{% endfor %}",
    "{% for m in messages %}{{ loop.previtem.role if loop.previtem is defined }}>{% endfor %}",
    "{% set ns = namespace(found=false, n=0) %}{% for m in messages %}"
    "{% if m.role == 'user' %}{% set ns.found = true %}{% set ns.n = ns.n + 1 %}{% endif %}"
    "{% endfor %}{{ ns.found }}{{ ns.n }}",
    "{% set x = 1 %}{% for m in messages %}{% set x = 2 %}{% endfor %}{{ x }}",
    "{% if true %}{% set x = 3 %}{% endif %}{{ x }}",
    "{% macro say(who, what='-') %}[{{ who }}:{{ what }}]{% endmacro %}{{ say('a') }}{{ say('b', what='c') }}",
    "{% set text %}a{{ 1 + 1 }}b{% endset %}{{ text|upper }}",
    "{% generation %}{{ messages[0].role }}{% endgeneration %}|{%- generation -%} x {%- endgeneration %}",
    "{{ messages|map(attribute='role')|join(', ') }}{{ messages|map(attribute='role')|list }}",
    "{{ messages|selectattr('role', 'equalto', 'user')|list|length }}{{ (messages|first).role }}",
    "{{ messages|rejectattr('role', 'in', ['user', 'system'])|map(attribute='content')|first }}",
    "{{ messages[1]|tojson }}{{ messages[0]|tojson(indent=2) }}",
    "{{ {'b': [1, 2.5, none, true], 'a': 'é<>&\\'\\\"\\\\/'}|tojson }}",
    "{{ {'b': 1, 'a': {}}|tojson(sort_keys=true) }}{{ [[], [1]]|tojson(indent=4) }}",
    "{{ 'é😀'|tojson(ensure_ascii=true) }}{{ [1, 2]|tojson(separators=(',', ':')) }}",
    "{{ nothing|default('d') }}{{ ''|default('e', true) }}{{ none|default('f') }}",
    "{{ 'a' in 'abc' }}{{ 'role' in messages[0] }}{{ 1 not in [2] }}{{ 'x' is in ['x'] }}",
    "{{ 'a' is string }}{{ messages is iterable }}{{ messages[0] is mapping }}{{ 1 is number }}",
    "{{ messages is sequence }}{{ 'a' is iterable }}{{ true is boolean }}{{ none is none }}",
    "{{ 1 is odd }}{{ 2 is even }}{{ 4 is divisibleby(2) }}{{ true is true }}{{ 1 == 1.0 }}",
    "{{ 'b' if false }}|{{ 'b' if false else 'c' }}|{{ (1 > 2) or 'x' }}|{{ '' and 'y' }}|{{ not 0 }}",
    "{{ 1 < 2 < 3 }}{{ (messages[0].role == 'user') != (0 % 2 == 0) }}",
    "{{ range(3)|list }}{{ range(1, 6, 2)|list }}{{ dict(a=1) }}{{ [3, 1, 2]|sort }}",
    "{{ 'abc'[1] }}{{ 'abc'[-1] }}{{ 'abc'[1:] }}{{ 'abc'[::-1] }}{{ 'héllo'[:2] }}",
    "{{ 'abc'|length }}{{ 'a b'|replace(' ', '_') }}{{ '3'|int + 1 }}{{ 3.7|int }}{{ 3|string }}",
    "{{ 'hello world'|title }}{{ 'a\\nb'|indent(2) }}{{ 'x'|upper|lower|capitalize }}",
    "{{ [1, 2, 3]|sum }}{{ [1, 1, 2]|unique|list }}{{ [1, 2]|reverse|list }}{{ [1, 2]|last }}",
    "{{ '%s is %d'|format('a', 3) }}{{ '{} {}'.format('a', 1) }}",
    "{{ bos_token + 'x' + eos_token }}{{ unk_token is defined }}",
    "{% raw %}{{ raw }}{% endraw %}{# comment #}end",
    "  {% if true %}  \n  inside\n  {% endif %}\n  after\n",
    "{%- if true -%}  \n  inside\n  {%- endif -%}\n  after\n\n",
    "a\n{% if true +%}\nb\n{% endif %}\nc",
    "{{ raise_exception('the roles are wrong') }}",
    "{% if messages[0].role == 'system' %}{{ raise_exception('no ' + messages[0].role) }}{% endif %}",
    "{{ messages.append(1) }}",
    "{{ 1 / 0 }}",
    "{{ 'a' + 1 }}",
    "{{ undefined_function() }}",
    "{{ messages[0]['content'] | unknown_filter }}",
    "{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}",
    "{% filter upper %}a{{ 'b' }}{% endfilter %}",
    "{% for a, b in [(1, 2), (3, 4)] %}{{ a }}{{ b }}{% else %}none{% endfor %}",
    "{% for a in [] %}x{% else %}none{% endfor %}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}",
    "{{ messages|length == 4 and messages[-1].role == 'user' }}{{ add_generation_prompt }}",
    "{{ 'a'.isupper() }}{{ 'A'.isupper() }}{{ '1'.isdigit() }}{{ 'ab'.isalpha() }}{{ ' '.isspace() }}",
    "{{ 'abcabc'.count('b') }}{{ 'abc'.index('b') if false else 'n' }}{{ '%'|urlencode if false }}",
    "{{ ('a', 'b')[1] }}{{ {'a': {'b': 'c'}}.a.b }}{{ {'a': 1}['a'] }}{{ {'items': 5}['items'] }}",
]


def save(name: str, tokenizer: Tokenizer, model_type: str, **config: object) -> None:
    folder = MODELS / name
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    for file, fields in [
        ("config.json", {"model_type": model_type}),
        ("tokenizer_config.json", config),
    ]:
        (folder / file).write_text(json.dumps(fields, ensure_ascii=False, indent=1) + "\n")


def byte_level(special: list[str], size: int = 420) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def with_template(tokenizer: Tokenizer, single: str, tokens: list[str]) -> None:
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=[(token, tokenizer.token_to_id(token)) for token in tokens]
    )


def sentencepiece_bpe(special: list[str], size: int = 620) -> Tokenizer:
    """BPE over `▁` with a token for each byte, as SentencePiece's models become."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=special + [f"<0x{byte:02X}>" for byte in range(256)],
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    state = json.loads(tokenizer.to_str())
    # The bytes are plain pieces.
    state["added_tokens"] = [t for t in state["added_tokens"] if not t["content"].startswith("<0x")]
    state["pre_tokenizer"] = None
    return Tokenizer.from_str(json.dumps(state))


def make_gpt2() -> None:
    tokenizer = byte_level(["<|endoftext|>"])
    tokenizer.add_tokens([AddedToken("[MARK]", lstrip=True, normalized=False)])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    # Both of these mean nothing beside a tokenizer.json.
    save("gpt2", tokenizer, "gpt2", tokenizer_class="GPT2Tokenizer", add_bos_token=True)


def make_llama2() -> None:
    tokenizer = sentencepiece_bpe(["<unk>", "<s>", "</s>"])
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    with_template(tokenizer, "<s> $A", ["<s>"])
    token = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    config = {
        "tokenizer_class": "LlamaTokenizer",
        "bos_token": {"__type": "AddedToken", "content": "<s>", **token},
        "eos_token": {"__type": "AddedToken", "content": "</s>", **token},
        "unk_token": {"__type": "AddedToken", "content": "<unk>", **token},
        "pad_token": None,
        "add_bos_token": True,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
    }
    save("llama2", tokenizer, "llama", legacy=False, **config)
    save("llama2_legacy", tokenizer, "llama", legacy=True, padding_side="right", **config)
    save("mistral", tokenizer, "mistral", legacy=False, **config)


def make_llama3() -> None:
    special = ["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"]
    tokenizer = byte_level(special)
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    with_template(tokenizer, "<|begin_of_text|> $A", ["<|begin_of_text|>"])
    save(
        "llama3",
        tokenizer,
        "llama",
        tokenizer_class="PreTrainedTokenizerFast",
        bos_token="<|begin_of_text|>",
        eos_token="<|eot_id|>",
        clean_up_tokenization_spaces=True,
    )


def make_qwen2() -> None:
    tokenizer = byte_level(["<|endoftext|>"])
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens([AddedToken("<think>", normalized=False)])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    decoder = {
        str(index): {
            "content": token.content,
            "lstrip": token.lstrip,
            "normalized": token.normalized,
            "rstrip": token.rstrip,
            "single_word": token.single_word,
            "special": token.special,
        }
        for index, token in tokenizer.get_added_tokens_decoder().items()
    }
    save(
        "qwen2",
        tokenizer,
        "qwen2",
        tokenizer_class="Qwen2Tokenizer",
        add_bos_token=False,
        added_tokens_decoder=decoder,
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
        bos_token=None,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token=None,
        clean_up_tokenization_spaces=False,
    )


def make_gemma() -> None:
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"]
    tokenizer = sentencepiece_bpe(special)
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_previous")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    with_template(tokenizer, "<bos> $A", ["<bos>"])
    save("gemma", tokenizer, "gemma2", tokenizer_class="GemmaTokenizer", add_bos_token=True)


def unigram(special: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=220, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def make_t5() -> None:
    tokenizer = unigram(["<pad>", "</s>", "<unk>"])
    with_template(tokenizer, "$A </s>", ["</s>"])
    sentinels = [f"<extra_id_{i}>" for i in range(100)]
    tokenizer.add_special_tokens(sentinels)
    save(
        "t5",
        tokenizer,
        "t5",
        tokenizer_class="T5Tokenizer",
        additional_special_tokens=sentinels,
        clean_up_tokenization_spaces=True,
    )


def make_xlm_roberta() -> None:
    tokenizer = unigram(["<s>", "<pad>", "</s>", "<unk>"])
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    with_template(tokenizer, "<s> $A </s>", ["<s>", "</s>"])
    save("xlm_roberta", tokenizer, "xlm-roberta", tokenizer_class="XLMRobertaTokenizer")


def make_bert() -> None:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    trainer = trainers.WordPieceTrainer(
        vocab_size=320,
        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    with_template(tokenizer, "[CLS] $A [SEP]", ["[CLS]", "[SEP]"])
    save(
        "bert",
        tokenizer,
        "bert",
        tokenizer_class="BertTokenizer",
        do_lower_case=True,
        clean_up_tokenization_spaces=True,
    )


def token_cases(tokenizer) -> list[dict]:
    cases = []
    for text in TEXTS + LONG:
        whole = text if isinstance(text, str) else text[0] * text[1]
        special = tokenizer(whole)["input_ids"]
        case = {
            "text": text,
            "ids": tokenizer(whole, add_special_tokens=False)["input_ids"],
            "special_ids": special,
        }
        if isinstance(text, str):
            case["decoded"] = tokenizer.decode(special)
            case["without_special"] = tokenizer.decode(special, skip_special_tokens=True)
        cases.append(case)
    return cases


def rendered(source: str, chat: list[dict], variables: dict, **options: bool) -> dict:
    try:
        texts, _ = render_jinja_template(
            conversations=[chat], chat_template=source, **options, **variables
        )
    except Exception as error:  # whatever Python gives is an error here too
        known = str(error) if type(error) is TemplateError else ""
        return {"error": known}
    return {"text": texts[0]}


def chat_cases() -> list[dict]:
    cases = []
    for path in sorted(TEMPLATES.glob("*.jinja")):
        source = path.read_text(encoding="utf-8")
        for name, chat in CHATS.items():
            for end in ["closed", "prompt", "open"]:
                if end == "open" and chat[-1]["role"] != "assistant":
                    continue
                options = {
                    "add_generation_prompt": end == "prompt",
                    "continue_final_message": end == "open",
                }
                result = rendered(source, chat, SPECIAL, **options)
                cases.append({"template": path.stem, "chat": name, "end": end, **result})
    return cases


def chat_ids(name: str, template: str) -> dict:
    tokenizer = AutoTokenizer.from_pretrained(MODELS / name)
    tokenizer.chat_template = (TEMPLATES / f"{template}.jinja").read_text(encoding="utf-8")
    cases = {}
    for chat in ["one", "three", "unicode"]:
        result = tokenizer.apply_chat_template(CHATS[chat], add_generation_prompt=True)
        cases[chat] = list(result["input_ids"])
    return {"model": name, "template": template, "ids": cases}


def main() -> None:
    for make in [
        make_gpt2,
        make_llama2,
        make_llama3,
        make_qwen2,
        make_gemma,
        make_t5,
        make_xlm_roberta,
        make_bert,
    ]:
        make()
    tokens = {}
    for folder in sorted(MODELS.iterdir()):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokens[folder.name] = {
            "class": type(tokenizer).__name__,
            "padding_side": tokenizer.padding_side,
            "special_tokens": tokenizer.special_tokens_map,
            "cases": token_cases(tokenizer),
        }
    expressions = [
        {"template": source, **rendered(source, CHATS["system_three"], SPECIAL)}
        for source in EXPRESSIONS
    ]
    chats = {
        "special_tokens": SPECIAL,
        "chats": CHATS,
        "rendered": chat_cases(),
        "expressions": expressions,
        "ids": [
            chat_ids("llama2", "llama2"),
            chat_ids("mistral", "mistral"),
            chat_ids("llama3", "llama3"),
            chat_ids("qwen2", "qwen3"),
            chat_ids("gemma", "gemma"),
        ],
    }
    for file, content in [("tokens.json", tokens), ("chats.json", chats)]:
        text = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
        (HERE / file).write_text(text + "\n")


if __name__ == "__main__":
    main()
