"""The sampler draws through the interface of `Perturbation`, without knowing its class."""

from hf_bat.perturbations import Edit, Perturbation, PerturbationSampler


class Shout(Perturbation):
    """A user's perturbation, which knows no label."""

    name, kind = "shout", "obstinate"

    def candidates(self, texts):
        return [Edit(0, 0, texts[0], texts[0].upper(), (texts[0].upper(),))]

    def sample(self, texts, rng):
        return self.candidates(texts)[0].texts

    def describe(self):
        return {"perturbation": self.name}


class ShoutAtToxic(Shout):
    def sample_for_label(self, texts, rng, label_name):
        return self.sample(texts, rng) if label_name == "toxic" else None


def draw(perturbation, label):
    names = ("fine", "toxic")
    sampler = PerturbationSampler(("text",), obstinate=perturbation, label_names=names)
    return sampler.draw({"text": "run!", "idx": 0, "label": label}, epoch=0)["obstinate"]


def test_a_perturbation_may_draw_by_the_name_of_the_label():
    assert draw(Shout(), 0) == draw(Shout(), 1) == [("RUN!",)]
    assert draw(ShoutAtToxic(), 0) == [None]
    assert draw(ShoutAtToxic(), 1) == [("RUN!",)]
