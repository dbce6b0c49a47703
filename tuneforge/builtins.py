"""What TuneForge itself brings, through the door that third parties use."""

from __future__ import annotations

from tuneforge import components as c
from tuneforge.hookspecs import hookimpl


@hookimpl
def tuneforge_model() -> list[type[c.Model]]:
    """hf, tiny."""
    from tuneforge.model.hf import Hf
    from tuneforge.model.tiny import Tiny

    return [Hf, Tiny]


@hookimpl
def tuneforge_data() -> list[type[c.DataSource]]:
    """json, csv, parquet, text, xml, conll, hub, sql, duckdb, logs, share."""
    from tuneforge.data.conll import Conll
    from tuneforge.data.csv import Csv
    from tuneforge.data.duckdb import DuckDB
    from tuneforge.data.hub import Hub
    from tuneforge.data.json import Json
    from tuneforge.data.logs import Logs
    from tuneforge.data.parquet import Parquet
    from tuneforge.data.share import Share
    from tuneforge.data.sql import Sql
    from tuneforge.data.text import Text
    from tuneforge.data.xml import Xml

    return [Json, Csv, Parquet, Text, Xml, Conll, Hub, Sql, DuckDB, Logs, Share]


@hookimpl
def tuneforge_transform() -> list[type[c.Transform]]:
    """back_translation, chunk, contextual, deidentify, exact_dedup, extend_vocabulary, incomplete, language, length,
    near_dedup, normalize, oversample, quality, reorder, select, semantic_dedup, synonyms, task_type, undersample."""
    from tuneforge.transform.back_translation import BackTranslation
    from tuneforge.transform.chunk import Chunk
    from tuneforge.transform.contextual import Contextual
    from tuneforge.transform.deidentify import Deidentify
    from tuneforge.transform.exact_dedup import ExactDedup
    from tuneforge.transform.extend_vocabulary import ExtendVocabulary
    from tuneforge.transform.incomplete import Incomplete
    from tuneforge.transform.language import Language
    from tuneforge.transform.length import Length
    from tuneforge.transform.near_dedup import NearDedup
    from tuneforge.transform.normalize import Normalize
    from tuneforge.transform.oversample import Oversample
    from tuneforge.transform.quality import Quality
    from tuneforge.transform.reorder import Reorder
    from tuneforge.transform.select import Select
    from tuneforge.transform.semantic_dedup import SemanticDedup
    from tuneforge.transform.synonyms import Synonyms
    from tuneforge.transform.task_type import TaskType
    from tuneforge.transform.undersample import Undersample

    return [
        BackTranslation, Chunk, Contextual, Deidentify, ExactDedup, ExtendVocabulary, Incomplete, Language, Length,
        NearDedup, Normalize, Oversample, Quality, Reorder, Select, SemanticDedup, Synonyms, TaskType, Undersample,
    ]  # fmt: skip


@hookimpl
def tuneforge_synthetic() -> list[type[c.Generator]]:
    """template."""
    from tuneforge.synthetic.template import Template

    return [Template]


@hookimpl
def tuneforge_teacher() -> list[type[c.Teacher]]:
    """openai, local, scripted."""
    from tuneforge.teacher.local import Local
    from tuneforge.teacher.openai import OpenAI
    from tuneforge.teacher.scripted import Scripted

    return [OpenAI, Local, Scripted]


@hookimpl
def tuneforge_strategy() -> list[type[c.Strategy]]:
    """clm, sft, instruction, dpo, distill, mlm, contrastive, kto, simpo, cpo, reward, grpo,
    classification, token_classification, multitask."""
    from tuneforge.strategy.classification import Classification
    from tuneforge.strategy.clm import Clm
    from tuneforge.strategy.contrastive import Contrastive
    from tuneforge.strategy.cpo import Cpo
    from tuneforge.strategy.distill import Distill
    from tuneforge.strategy.dpo import Dpo
    from tuneforge.strategy.grpo import Grpo
    from tuneforge.strategy.instruction import Instruction
    from tuneforge.strategy.kto import Kto
    from tuneforge.strategy.mlm import Mlm
    from tuneforge.strategy.multitask import Multitask
    from tuneforge.strategy.reward import Reward
    from tuneforge.strategy.sft import Sft
    from tuneforge.strategy.simpo import Simpo
    from tuneforge.strategy.token_classification import TokenClassification

    return [
        Clm, Sft, Instruction, Dpo, Distill, Mlm, Contrastive, Kto, Simpo, Cpo, Reward, Grpo,
        Classification, TokenClassification, Multitask,
    ]  # fmt: skip


@hookimpl
def tuneforge_adapter() -> list[type[c.Adapter]]:
    """full, lora, qlora, ia3, prefix, prompt, ptuning, bottleneck, freeze, gradual_unfreezing."""
    from tuneforge.adapter.bottleneck import Bottleneck
    from tuneforge.adapter.freeze import Freeze
    from tuneforge.adapter.full import Full
    from tuneforge.adapter.gradual_unfreezing import GradualUnfreezing
    from tuneforge.adapter.ia3 import Ia3
    from tuneforge.adapter.lora import Lora
    from tuneforge.adapter.prefix import Prefix
    from tuneforge.adapter.prompt import Prompt
    from tuneforge.adapter.ptuning import Ptuning
    from tuneforge.adapter.qlora import Qlora

    return [Full, Lora, Qlora, Ia3, Prefix, Prompt, Ptuning, Bottleneck, Freeze, GradualUnfreezing]


@hookimpl
def tuneforge_optimizer() -> list[type[c.Optimizer]]:
    """adamw, adamw_8bit, adafactor, lion, muon, schedule_free, sgd."""
    from tuneforge.optimizer.adafactor import Adafactor
    from tuneforge.optimizer.adamw import AdamW
    from tuneforge.optimizer.adamw_8bit import AdamW8Bit
    from tuneforge.optimizer.lion import Lion
    from tuneforge.optimizer.muon import Muon
    from tuneforge.optimizer.schedule_free import ScheduleFree
    from tuneforge.optimizer.sgd import Sgd

    return [AdamW, AdamW8Bit, Adafactor, Lion, Muon, ScheduleFree, Sgd]


@hookimpl
def tuneforge_scheduler() -> list[type[c.Scheduler]]:
    """constant, cosine, cosine_with_restarts, inverse_sqrt, linear, polynomial, wsd."""
    from tuneforge.scheduler.constant import Constant
    from tuneforge.scheduler.cosine import Cosine
    from tuneforge.scheduler.cosine_with_restarts import CosineWithRestarts
    from tuneforge.scheduler.inverse_sqrt import InverseSqrt
    from tuneforge.scheduler.linear import Linear
    from tuneforge.scheduler.polynomial import Polynomial
    from tuneforge.scheduler.wsd import Wsd

    return [Constant, Cosine, CosineWithRestarts, InverseSqrt, Linear, Polynomial, Wsd]


@hookimpl
def tuneforge_evaluator() -> list[type[c.Evaluator]]:
    """answer_format, answer_length, exact_match, perplexity, masked_perplexity, preference_accuracy, reward_accuracy,
    classification, span_f1, tag_accuracy, retrieval, reward_model, instruction_following, token_f1, rouge, bleu,
    chrf, refusal, code_execution, multiple_choice, numeric_answer, label, ood, length_bias, judge, rubric,
    json_schema, query_execution, robustness, verbatim, bert_score, calibration, selective, consistency, lm_eval."""
    from tuneforge.evaluator.answer_format import AnswerFormat
    from tuneforge.evaluator.answer_length import AnswerLength
    from tuneforge.evaluator.bert_score import BertScore
    from tuneforge.evaluator.bleu import Bleu
    from tuneforge.evaluator.calibration import Calibration
    from tuneforge.evaluator.chrf import Chrf
    from tuneforge.evaluator.classification import Classification
    from tuneforge.evaluator.code_execution import CodeExecution
    from tuneforge.evaluator.consistency import Consistency
    from tuneforge.evaluator.exact_match import ExactMatch
    from tuneforge.evaluator.instruction_following import InstructionFollowing
    from tuneforge.evaluator.json_schema import JsonSchema
    from tuneforge.evaluator.judge import Judge
    from tuneforge.evaluator.label import Label
    from tuneforge.evaluator.length_bias import LengthBias
    from tuneforge.evaluator.lm_eval import LmEval
    from tuneforge.evaluator.masked_perplexity import MaskedPerplexity
    from tuneforge.evaluator.multiple_choice import MultipleChoice
    from tuneforge.evaluator.numeric_answer import NumericAnswer
    from tuneforge.evaluator.ood import Ood
    from tuneforge.evaluator.perplexity import Perplexity
    from tuneforge.evaluator.preference_accuracy import PreferenceAccuracy
    from tuneforge.evaluator.query_execution import QueryExecution
    from tuneforge.evaluator.refusal import Refusal
    from tuneforge.evaluator.retrieval import Retrieval
    from tuneforge.evaluator.reward_accuracy import RewardAccuracy
    from tuneforge.evaluator.reward_model import RewardModel
    from tuneforge.evaluator.robustness import Robustness
    from tuneforge.evaluator.rouge import Rouge
    from tuneforge.evaluator.rubric import Rubric
    from tuneforge.evaluator.selective import Selective
    from tuneforge.evaluator.span_f1 import SpanF1
    from tuneforge.evaluator.tag_accuracy import TagAccuracy
    from tuneforge.evaluator.token_f1 import TokenF1
    from tuneforge.evaluator.verbatim import Verbatim

    return [
        AnswerFormat, AnswerLength, ExactMatch, Perplexity, MaskedPerplexity, PreferenceAccuracy, RewardAccuracy,
        Classification, SpanF1, TagAccuracy, Retrieval, RewardModel, InstructionFollowing, TokenF1, Rouge, Bleu, Chrf,
        Refusal, CodeExecution, MultipleChoice, NumericAnswer, Label, Ood, LengthBias, Judge, Rubric, JsonSchema,
        QueryExecution, Robustness, Verbatim, BertScore, Calibration, Selective, Consistency, LmEval,
    ]  # fmt: skip


@hookimpl
def tuneforge_program() -> list[type[c.Program]]:
    """data_curve."""
    from tuneforge.program.data_curve import DataCurve

    return [DataCurve]


@hookimpl
def tuneforge_exporter() -> list[type[c.Exporter]]:
    """merged, int8."""
    from tuneforge.exporter.int8 import Int8
    from tuneforge.exporter.merged import Merged

    return [Merged, Int8]


@hookimpl
def tuneforge_logger() -> list[type[c.Logger]]:
    """csv, mlflow, tensorboard, trackio, wandb."""
    from tuneforge.logger.csv import Csv
    from tuneforge.logger.mlflow import MLflow
    from tuneforge.logger.tensorboard import TensorBoard
    from tuneforge.logger.trackio import Trackio
    from tuneforge.logger.wandb import Wandb

    return [Csv, MLflow, TensorBoard, Trackio, Wandb]
