"""Retention: what has served its term goes, and nothing else."""

from chandlery.services.retention.plan import Action, Policy, Step, Term, policy_of
from chandlery.services.retention.run import Keeper, RetentionReport

__all__ = ["Action", "Keeper", "Policy", "RetentionReport", "Step", "Term", "policy_of"]
