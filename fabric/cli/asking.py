"""Asking at the terminal for what nobody else should see."""

import sys

import click


def ask_secret(prompt: str, without_terminal: str, *, confirm: bool = False) -> str:
    """Ask for a password, which is not shown as it is typed.

    Args:
        prompt: What is asked for.
        without_terminal: What is said where nobody can be asked: how else to give it.
        confirm: Ask twice.

    Raises:
        click.UsageError: there is no terminal.
    """
    if not sys.stdin.isatty():
        raise click.UsageError(without_terminal)
    return str(click.prompt(prompt, hide_input=True, confirmation_prompt=confirm))
