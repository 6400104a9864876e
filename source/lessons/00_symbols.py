# %% [markdown]
# # Symbols and words
#
# One page for all lessons.
