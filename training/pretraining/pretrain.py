"""Pretrain a small decoder as a causal language model, from nothing, on in-domain text."""

import json
import random
from pathlib import Path

from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    set_seed,
)

from training.errors import BadInput
from training.fitting.processes import count_processes
from training.fitting.resume import close_run, open_run
from training.pretraining.causal import Blocks, CausalTrainer, build_arguments
from training.pretraining.corpus import Corpus, read_corpus
from training.pretraining.tokenizer import train_tokenizer
from training.recipe.settings import Settings


class PretrainRecipe(Settings):
    """How the backbone of the bundled model is made."""

    data: Path
    """Folder that holds `text/` and `ncal/`."""
    output: Path
    """Where the backbone goes: an ordinary Hugging Face model."""
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    epochs: int
    """Passes over the corpus; dialogues are cut anew in each."""
    block_tokens: int
    """Length of a training sequence; documents are packed."""
    batch_size: int
    """Sequences a step."""
    learning_rate: float
    """Of AdamW, for embeddings, biases and norms."""
    muon_learning_rate: float
    """Of Muon, for the matrices of the layers."""
    weight_decay: float
    warmup_steps: int
    seed: int
    bf16: bool
    """Matrix products in bfloat16; parameters and sums stay float32."""
    compile: bool
    """torch.compile: three times faster on CPU, needs a C++ compiler."""


def pretrain(recipe: PretrainRecipe) -> None:
    """Train tokenizer and model; write both to `recipe.output`.

    A run that was broken off goes on from its last checkpoint, in `run` beside them; BadInput if
    that is of another recipe or of other texts.
    """
    if count_processes() > 1:
        raise BadInput("pretraining runs in one process; start it without torchrun")
    run = recipe.output / "run"
    arguments = build_arguments(
        run,
        batch_size=recipe.batch_size,
        warmup_steps=recipe.warmup_steps,
        seed=recipe.seed,
    )
    set_seed(recipe.seed)
    corpus = read_texts(recipe)
    tokenizer = train_tokenizer(corpus.iterate_texts(), vocab_size=recipe.vocab_size)
    blocks = pack_blocks(corpus, tokenizer, recipe)
    model = build_model(recipe, tokenizer)
    print(f"{model.num_parameters():,} parameters, {blocks.tokens:,} tokens", flush=True)
    described = {"recipe": recipe.model_dump(mode="json"), "texts": corpus.fingerprints}
    checkpoint = open_run(run, described)
    trainer = CausalTrainer(
        model,
        arguments,
        blocks,
        muon_learning_rate=recipe.muon_learning_rate,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        bf16=recipe.bf16,
        compile=recipe.compile,
    )
    result = trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    trainer.accelerator.unwrap_model(trainer.model).save_pretrained(recipe.output)
    tokenizer.save_pretrained(recipe.output)
    recipe.write(recipe.output / "pretrain.yaml")
    summary = {
        "train_loss": result.training_loss,
        "runtime_s": result.metrics["train_runtime"],
        "tokens": blocks.tokens,
        "parameters": model.num_parameters(),
        "left_out_texts": corpus.left_out,
        "data_sha256": corpus.fingerprints,
    }
    (recipe.output / "pretrain.json").write_text(json.dumps(summary, indent=2) + "\n")
    close_run(run)


def read_texts(recipe: PretrainRecipe) -> Corpus:
    """Read and check the texts, less those that recur in the labelled data; BadInput."""
    ncal = recipe.data / "ncal"
    return read_corpus(
        recipe.data / "text", [ncal / "TMWPL_train.jsonl", ncal / "PMTD_train.jsonl"]
    )


def build_model(recipe: PretrainRecipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A decoder as Qwen2's, with tied embeddings, initialised at random.

    Qwen2 is Llama with biases in the attention, and is written down as that: whatever
    tokenizer lies beside a `qwen2` model, AutoTokenizer of transformers 5 (and with it
    `vllm serve`) silently puts Qwen's own in its place.
    """
    config = LlamaConfig(
        attention_bias=True,
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    # Scores of short sequences are small: the plain kernel is the faster one on CPU.
    model.set_attn_implementation("eager")
    model.config.use_cache = False
    return model


def pack_blocks(
    corpus: Corpus, tokenizer: PreTrainedTokenizerFast, recipe: PretrainRecipe
) -> Blocks:
    """All epochs as blocks of tokens."""
    rng = random.Random(recipe.seed)
    documents: list[list[int]] = []
    for _ in range(recipe.epochs):
        texts = list(corpus.iterate_documents(rng))
        documents += tokenizer(texts, add_special_tokens=False)["input_ids"]
    return Blocks(documents, recipe.block_tokens)
