"""What a labeler says of itself: description, model card, learning curve; its folder and the hub."""
