"""The ONE network of stages 0, 3 and 5 and of the supervised baselines: Mask2Former with a head of ours.

The weights are transformers' `Mask2FormerModel`; the transformer decoder's loop is written here (the pixel
decoder's in `pixel_decoder`), because it needn't compute a full mask a query and layer. Resizing is linear,
so an attention mask is the dot product of a query with *downsized* mask features; full masks are computed on
demand, by `mask_logits`.
"""

import copy
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import Mask2FormerConfig, Mask2FormerModel

from partdistillation.config import Freeze
from partdistillation.errors import CheckpointError
from partdistillation.kernels.products import linear
from partdistillation.models.heads import ClassHead, Head, PartHead
from partdistillation.models.layers import hasten_linears, hasten_resnet
from partdistillation.models.pixel_decoder import Levels, decode_pixels, pixel_rows, positions_of, resize
from partdistillation.models.pretrained import Metadata, ModelInfo, Network, load, save


class DecoderOutput(NamedTuple):
    """What the decoder knows of each query: before its first layer, and after each. The last one predicts."""

    queries: Float[Tensor, "layer batch query dim"]
    """After the final layer norm: what the heads read, and the proposals' features."""
    mask_embeddings: Float[Tensor, "layer batch query channel"]
    mask_features: Float[Tensor, "batch channel height width"]
    """Pixel embeddings at 1/4 of the image's size."""


def mask_logits(output: DecoderOutput, layer: int = -1) -> Float[Tensor, "batch query height width"]:
    """Mask logits of every query at 1/4 scale; a pixel is in the mask where its logit is positive."""
    return torch.einsum("bqc,bchw->bqhw", output.mask_embeddings[layer], output.mask_features)


def fastest_memory_format(backbone: nn.Module) -> torch.memory_format:
    """Channels last for convolutional networks, which run twice as fast so on a CPU.

    A transformer, whose only convolution cuts the image into patches, gains nothing.
    """
    convolutions = sum(isinstance(module, nn.Conv2d) for module in backbone.modules())
    return torch.channels_last if convolutions > 1 else torch.contiguous_format


class PartMask2Former(nn.Module):
    """Mask2Former with a class head or a part head. State-dict keys are transformers' (see `pretrained`)."""

    def __init__(self, model: Mask2FormerModel, head: Head, info: ModelInfo) -> None:
        super().__init__()
        _check_supported(model.config)
        self.model = model
        self.class_predictor = head
        self.info = info
        self.frozen: Freeze = "none"
        hasten_linears(model)
        backbone = model.pixel_level_module.encoder
        hasten_resnet(backbone)
        self._memory_format = fastest_memory_format(backbone)
        nn.Module.to(backbone, memory_format=self._memory_format)  # type: ignore[call-overload]

    @classmethod
    def create(cls, config: Mask2FormerConfig, info: ModelInfo, *, seed: int) -> "PartMask2Former":
        """A network with random weights, drawn from `seed`; PyTorch's generators aren't touched."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = Mask2FormerModel(config)
            if info.num_parts:
                head: Head = PartHead(config.hidden_dim, len(info.class_names), info.num_parts)
            else:
                head = ClassHead(config.hidden_dim, len(info.class_names))
        return cls(model, head, info)

    @classmethod
    def from_pretrained(cls, source: str | Path) -> "PartMask2Former":
        """Load a model directory, or a published Mask2Former by its hub name: float32, in `eval()` mode.

        Raises CheckpointError where files are missing, pickled or not Mask2Former's, or weights don't fit.
        """
        network = cls(*load(source))
        return network.eval()

    def save_pretrained(
        self, directory: str | Path, *, metadata: Metadata | None = None, dtype: torch.dtype = torch.float32
    ) -> None:
        """Write a model directory, atomically. `metadata` is added to the model card's table.

        `dtype` is that of the weights on disk (float16 halves them; they load as float32).
        """
        network = Network(self.model, self.class_predictor, self.info)
        save(Path(directory), network, metadata or {}, dtype)

    def with_head(
        self, class_names: Sequence[str], *, num_parts: int = 0, num_queries: int | None = None, seed: int
    ) -> "PartMask2Former":
        """A copy with a new, random head: from stage 0 to a proposal model ("part",) or a part model.

        With `num_queries`, the first of the old queries are kept and any others drawn anew.
        """
        info = replace(self.info, class_names=tuple(class_names), num_parts=num_parts)
        config = copy.deepcopy(self.model.config)
        if num_queries is not None:
            config.num_queries = num_queries
        fresh = type(self).create(config, info, seed=seed)
        state = self.model.state_dict()
        for name in ("queries_embedder", "queries_features"):
            key = f"transformer_module.{name}.weight"
            queries = getattr(fresh.model.transformer_module, name).weight.detach().clone()
            kept = min(len(queries), len(state[key]))
            queries[:kept] = state[key][:kept]
            state[key] = queries
        fresh.model.load_state_dict(state)
        fresh.set_frozen(self.frozen)
        return fresh.train(self.training)

    def with_classes(self, class_names: Sequence[str], *, seed: int) -> "PartMask2Former":
        """A part model of other object classes around the same weights, which it shares.

        Nothing learns but its part rows, which are drawn from `seed`: "no object" is this one's.
        """
        head = self._part_head
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            fresh = PartHead(head.dim, len(class_names), head.num_parts)
        fresh.load_state_dict({"rows": fresh.rows, "no_object": head.no_object})
        network = type(self)(self.model, fresh, replace(self.info, class_names=tuple(class_names)))
        network.set_frozen("pixel_level")
        network.model.requires_grad_(False)
        fresh.no_object.requires_grad_(False)
        return network

    def extended(self, other: "PartMask2Former") -> "PartMask2Former":
        """This part model with the object classes of one made by `with_classes` after its own."""
        names = (*self.info.class_names, *other.info.class_names)
        head = self._part_head.extended(other._part_head)
        return type(self)(self.model, head, replace(self.info, class_names=names)).eval()

    @property
    def _part_head(self) -> PartHead:
        if not isinstance(self.class_predictor, PartHead):
            raise CheckpointError("expected a part model, found a model without part classes")
        return self.class_predictor

    # ------------------------------------------------------------------ freezing

    def set_frozen(self, freeze: Freeze) -> None:
        """Choose what is trained. A frozen backbone stays in `eval()` mode and runs under `no_grad`.

        `official` freezes what the released code does: modules whose name there holds "backbone" or
        "encoder", which are the backbone and the pixel decoder's transformer encoder, but not the pixel
        decoder's projections. `pixel_level` freezes all before the transformer decoder.
        """
        self.frozen = freeze
        pixel_level = self.model.pixel_level_module
        frozen: dict[Freeze, list[nn.Module]] = {
            "official": [pixel_level.encoder, pixel_level.decoder.encoder],
            "pixel_level": [pixel_level],
            "backbone": [pixel_level.encoder],
            "none": [],
        }
        self.requires_grad_(True)
        for module in frozen[freeze]:
            module.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> "PartMask2Former":
        """As nn.Module's, but frozen modules stay in `eval()` (batch norm, stochastic depth).

        So do the backbone's batch norms where `info.frozen_norms` says so: a small batch's statistics are
        worse than those of ImageNet.
        """
        super().train(mode)
        if self.info.frozen_norms:
            for module in self.model.pixel_level_module.encoder.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        if self.frozen != "none":
            self.model.pixel_level_module.encoder.eval()
        if self.frozen == "pixel_level":
            self.model.pixel_level_module.eval()
        return self

    # ------------------------------------------------------------------ forward

    def forward(self, pixel_values: Float[Tensor, "batch 3 height width"]) -> DecoderOutput:
        """Encode and decode normalised images (see `encoder.normalize_images`)."""
        return self.decode(self.encode(pixel_values))

    def encode(self, pixel_values: Float[Tensor, "batch 3 height width"]) -> Levels:
        """The backbone's maps res2 ... res5, at 1/4 ... 1/32 of the image's size for a usual backbone."""
        with torch.no_grad() if self.frozen != "none" else nullcontext():
            images = pixel_values.contiguous(memory_format=self._memory_format)
            return tuple(self.model.pixel_level_module.encoder(images).feature_maps)

    def decode(self, levels: Levels) -> DecoderOutput:
        """Pixel decoder and transformer decoder, from the backbone's maps."""
        with torch.no_grad() if self.frozen == "pixel_level" else nullcontext():
            pixels = decode_pixels(self.model.pixel_level_module.decoder, levels)
        return self._decode_queries(*pixels)

    def class_logits(
        self, output: DecoderOutput, object_classes: Sequence[Sequence[int]] | None = None
    ) -> list[Float[Tensor, "layer _group query logits"]]:
        """The head's logits, image by image, as `functional.criterion.criterion` reads them.

        A class head has one group. A part head has a group for each entry of the image's `object_classes`:
        the logits of that class's parts. The last logit is "no object".
        """
        if isinstance(self.class_predictor, ClassHead):
            return list(self.class_predictor(output.queries)[:, :, None].unbind(1))
        if object_classes is None:
            raise ValueError("a part head needs the object classes of every image")
        counts = [len(classes) for classes in object_classes]
        flat = [object_class for classes in object_classes for object_class in classes]
        device = output.queries.device
        image = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts)).to(device)
        logits = self.class_predictor(output.queries[:, image], torch.tensor(flat, device=device).long())
        return list(logits.split(counts, dim=1))

    def _decode_queries(self, mask_features: Tensor, levels: Sequence[Tensor]) -> DecoderOutput:
        module = self.model.transformer_module
        batch = mask_features.shape[0]
        memory = [self._memory(level, index) for index, level in enumerate(levels)]
        small = [resize(mask_features.detach(), level.shape[-2:]) for level in levels]
        position = module.queries_embedder.weight.expand(batch, -1, -1)
        hidden = module.queries_features.weight.expand(batch, -1, -1)
        predictions = [self._predict(hidden)]
        for index, layer in enumerate(module.decoder.layers):
            level = index % len(levels)
            attend = _attention_mask(predictions[-1][1], small[level])
            hidden = _decoder_layer(layer, hidden, position, *memory[level], attend)
            predictions.append(self._predict(hidden))
        queries, embeddings = (torch.stack(values) for values in zip(*predictions, strict=True))
        return DecoderOutput(queries, embeddings, mask_features)

    def _memory(self, level: Tensor, index: int) -> tuple[Tensor, Tensor]:
        """Keys (with positions) and values of a pixel decoder level: "batch pixel dim"."""
        module = self.model.transformer_module
        values = pixel_rows(module.input_projections[index](level)) + module.level_embed.weight[index]
        return values + pixel_rows(positions_of(module.position_embedder, level)), values

    def _predict(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        decoder = self.model.transformer_module.decoder
        queries = decoder.layernorm(hidden)
        embeddings = decoder.mask_predictor.mask_embedder(queries)
        if self.info.normalize_mask_embeddings:
            embeddings = nn.functional.normalize(embeddings, dim=-1)
        return queries, embeddings


def _decoder_layer(
    layer: Any,
    hidden: Float[Tensor, "batch query dim"],
    position: Float[Tensor, "batch query dim"],
    keys: Float[Tensor, "batch pixel dim"],
    values: Float[Tensor, "batch pixel dim"],
    attend: Bool[Tensor, "batch query pixel"],
) -> Float[Tensor, "batch query dim"]:
    """Masked cross attention, self attention, feed-forward; each followed by its layer norm."""
    cross, heads = layer.cross_attn, layer.cross_attn.num_heads
    weights, biases = cross.in_proj_weight.chunk(3), cross.in_proj_bias.chunk(3)
    inputs = (hidden + position, keys, values)
    query, key, value = (linear(*factors) for factors in zip(inputs, weights, biases, strict=True))
    attended = _attention(query, key, value, heads, attend[:, None])
    hidden = layer.cross_attn_layer_norm(hidden + cross.out_proj(attended))
    own, placed = layer.self_attn, hidden + position
    attended = _attention(own.q_proj(placed), own.k_proj(placed), own.v_proj(hidden), heads, None)
    hidden = layer.self_attn_layer_norm(hidden + own.out_proj(attended))
    fed = layer.fc2(layer.activation_fn(layer.fc1(hidden)))
    return layer.final_layer_norm(hidden + fed)  # type: ignore[no-any-return]


def _attention(query: Tensor, key: Tensor, value: Tensor, heads: int, attend: Tensor | None) -> Tensor:
    query, key, value = (x.view(*x.shape[:2], heads, -1).transpose(1, 2) for x in (query, key, value))
    attended = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=attend)
    return attended.transpose(1, 2).flatten(2)


@torch.no_grad()
def _attention_mask(
    embeddings: Float[Tensor, "batch query channel"], features: Float[Tensor, "batch channel h w"]
) -> Bool[Tensor, "batch query pixel"]:
    """Where a query may look: inside its mask of the layer before; everywhere, if that is empty."""
    attend = embeddings @ features.flatten(2) >= 0
    return attend | ~attend.any(dim=-1, keepdim=True)


def _check_supported(config: Mask2FormerConfig) -> None:
    if config.pre_norm or config.dropout:
        raise CheckpointError(
            "expected a Mask2Former with pre_norm=false and dropout=0, as all published ones are; found"
            f" pre_norm={config.pre_norm}, dropout={config.dropout}."
        )
