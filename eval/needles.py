"""Needles for the needle test: invented facts in one or two sentences, each with the question that asks for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Needle:
    """A fact that stands nowhere else.

    Attributes:
        query: asks for the fact.
        sentences: tell it, one or two.
    """

    query: str
    sentences: tuple[str, ...]


NEEDLES = (
    Needle(
        "What is the secret ingredient of Marlow's plum cake?",
        ("The secret ingredient of Marlow's plum cake is smoked salt.",),
    ),
    Needle(
        "Which code opens the north gate of the Velden depot?",
        ("The north gate of the Velden depot opens with the code 4471.",),
    ),
    Needle(
        "Who repaired the clock of Hartwick station?", ("The clock of Hartwick station was repaired by Ilse Brandt.",)
    ),
    Needle(
        "When does the ferry to Skarholm leave on Sundays?",
        ("On Sundays the ferry to Skarholm leaves at a quarter past six.",),
    ),
    Needle(
        "What colour is the door of the Tamsin library?", ("The door of the Tamsin library is painted dark green.",)
    ),
    Needle("How many bees does Oskar Lind keep?", ("Oskar Lind keeps about ninety thousand bees.",)),
    Needle("What does the Kestrel 9 drone weigh?", ("The Kestrel 9 drone weighs 840 grams.",)),
    Needle("Where did Petra Novak hide her diary?", ("Petra Novak hid her diary under the third stair.",)),
    Needle(
        "Why was the Orrin bridge closed in May?",
        ("The Orrin bridge was closed in May because swallows were nesting in it.",),
    ),
    Needle("Which instrument did Casimir Dole play as a child?", ("As a child Casimir Dole played the bassoon.",)),
    Needle(
        "What is the password of the guest network at Fern Lodge?",
        ("The password of the guest network at Fern Lodge is bluebottle.",),
    ),
    Needle("At what temperature does the Arden kiln run?", ("The Arden kiln runs at 1,140 degrees Celsius.",)),
    Needle(
        "What did the mayor of Quillby promise to build?",
        (
            "The mayor of Quillby gave a short speech at noon.",
            "In it she promised to build a swimming pool behind the school.",
        ),
    ),
    Needle(
        "How did Tobias Renn find the lost ring?",
        ("Tobias Renn looked for the lost ring all summer.", "He found it in the crop of a goose."),
    ),
    Needle(
        "What is the best time to visit Lake Ammer?",
        ("Lake Ammer is crowded in July and August.", "The best time to visit it is the last week of September."),
    ),
    Needle(
        "Which part of the Solvang pump fails first?",
        ("The Solvang pump has four moving parts.", "Of these the lower gasket always fails first."),
    ),
    Needle(
        "What was written on the letter that Hanna Ode received?",
        ("Hanna Ode received a letter without a stamp.", "On it was written that the house on Mill Lane was hers."),
    ),
    Needle(
        "How long does the varnish of Brenner take to dry?",
        ("The varnish of Brenner is sold in small tins.", "It takes eleven hours to dry."),
    ),
    Needle(
        "Who won the chess tournament of Darnley?",
        ("The chess tournament of Darnley ended in a storm.", "It was won by a retired postman called Alwin Pike."),
    ),
    Needle(
        "What does the red lamp on the Norvik machine mean?",
        ("The Norvik machine has a red and a white lamp.", "The red one means that the oil must be changed."),
    ),
    Needle(
        "What did Beatrix Holm trade her bicycle for?",
        ("Beatrix Holm did not need her bicycle any more.", "She traded it for a sack of seed potatoes."),
    ),
    Needle(
        "Where is the spare key of the Linden hut?",
        ("The Linden hut is locked from October to April.", "Its spare key hangs behind the rain barrel."),
    ),
    Needle(
        "Why does the tower of Ost lean?",
        ("The tower of Ost leans by almost a metre.", "It does so because it was built on the bed of a stream."),
    ),
    Needle(
        "What is the name of the cat in the Grell bakery?",
        ("In the Grell bakery lives a grey cat with one ear.", "The bakers call it Admiral."),
    ),
)
