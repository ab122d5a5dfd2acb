/** Why a unit is kept or dropped, in words. */

const REASONS = {
  score: "kept because of its score",
  always: "kept because it matches Always keep",
  head: "kept as one of the first units",
  tail: "kept as one of the last units",
  neighbour: "kept as a neighbour of a kept unit",
  structure: "kept because a kept unit needs it",
  "relevant passage": "kept as the best unit of a relevant passage",
  unreadable: "kept because the model cannot read the passage or the question",
  never: "dropped because it matches Never keep",
  duplicate: "dropped because a more relevant passage already says it",
  budget: "dropped because it does not fit the token budget",
};

/** Return a sentence about a unit of the response. */
export function explained({ kept, reason }) {
  if (!reason) return kept ? "kept" : "dropped because of its score";
  return REASONS[reason] ?? `${kept ? "kept" : "dropped"}: ${reason}`;
}

/** Return the word beside a unit; nothing where its score alone decided. */
export const noted = ({ reason }) => (reason && reason !== "score" ? reason : "");
