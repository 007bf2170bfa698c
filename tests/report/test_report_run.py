"""What the report says of a run."""

from partdistillation.config import RankingConfig, Recipe
from partdistillation.report.run import facts


def test_the_number_of_part_classes_is_said() -> None:
    recipes = [Recipe(), Recipe(ranking=RankingConfig(num_parts=12, part_count="stability"))]
    assert [dict(facts(recipe))["Part classes"] for recipe in recipes] == [
        "K = 8 an object class",
        "as many as are stable, at most 12 an object class",
    ]
