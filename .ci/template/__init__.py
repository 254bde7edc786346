"""What check_template.py is made of: the model of the stacks, the rules, and how to break each."""
